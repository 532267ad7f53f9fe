"""Sources of candidates for a request."""
