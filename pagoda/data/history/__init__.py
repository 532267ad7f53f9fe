"""What users did before a moment."""
