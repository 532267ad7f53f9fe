"""Files of item vectors, and what is computed over them without a server."""
