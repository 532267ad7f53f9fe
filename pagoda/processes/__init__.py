"""Processes of this machine that share work, each of which ends when the one that started it does."""
