"""How the embedded entailment model was made: `python -m training.nli` trains, exports and calibrates it."""
