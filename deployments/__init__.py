"""What runs around the flows: the command line."""
