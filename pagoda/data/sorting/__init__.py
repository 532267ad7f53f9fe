"""Sorting and merging in bounded memory."""
