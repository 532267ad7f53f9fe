"""Evaluation of an answer that several channels make: what it finds beside the towers alone, and what each adds."""
