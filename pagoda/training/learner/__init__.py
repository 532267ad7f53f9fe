"""One step of training, and all that it changes."""
