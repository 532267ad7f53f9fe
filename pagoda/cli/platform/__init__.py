"""Verbs about the embedded platform and what it serves now."""
