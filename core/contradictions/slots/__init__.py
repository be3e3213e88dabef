"""Answer slots: what each passage answers to the question, and whether two passages answer the same."""
