"""Generations, the release log that tells of them, and the arms that they answer by."""
