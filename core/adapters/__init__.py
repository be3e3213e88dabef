"""Implementations of the ports that need a library or the file system."""
