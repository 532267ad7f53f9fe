"""The updates: what makes a new version out of a window of interactions, step by step."""
