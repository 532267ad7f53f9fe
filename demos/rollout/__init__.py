"""`make demo-rollout`: candidates good and bad, rolled out on one machine while simulated users ask and click."""
