"""What is deleted for good from what updates learn: all of one user, and all interactions of long ago."""
