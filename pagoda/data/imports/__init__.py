"""Anyone's files as a dataset folder."""
