"""Verbs that train, evaluate and export."""
