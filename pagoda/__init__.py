"""Pagoda: the platform that runs two-tower recall in production."""
