"""How the sentence embedder that comes with REDO was made from public weights."""
