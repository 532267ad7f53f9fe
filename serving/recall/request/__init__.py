"""A request's way: arms, answers, shadow, outcomes."""
