"""A report for people: as tables and as a picture."""
