"""Whether a dataset is what its declaration says."""
