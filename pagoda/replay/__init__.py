"""Replay: what each policy of updates would have been worth on a log, walked in event time."""
