"""What a teacher, any ranker, says of users and items, and how training learns it."""
