"""What a version must beat beside popularity: recommenders that learn nothing but which items go together."""
