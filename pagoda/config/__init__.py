"""Every section of the training file."""
