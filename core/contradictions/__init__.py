"""Finding passages that cannot both be true. Each module holds one step of the lexical detector."""
