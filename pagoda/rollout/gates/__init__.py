"""Conditions that a rollout must meet, and the statistics behind them."""
