"""What is said of items beside their IDs, and what the item log has made of them since they were exported."""
