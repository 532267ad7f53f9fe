"""Batches: what one step of training takes."""
