"""The `redo` command."""
