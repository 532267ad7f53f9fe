"""Positives of a window, as training reads them."""
