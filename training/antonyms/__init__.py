"""The detector's table of opposites, compiled from WordNet."""
