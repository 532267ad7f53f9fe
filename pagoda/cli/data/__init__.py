"""Verbs about data: datasets, items, users, simulated worlds."""
