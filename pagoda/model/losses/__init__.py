"""Objectives: how user vectors should lie towards item vectors."""
