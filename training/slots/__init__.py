"""Training of the answer-slot reader."""
