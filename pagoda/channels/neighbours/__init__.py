"""Which items go with which: by who had both, and by their vectors. SciPy is here, and nowhere else in channels."""
