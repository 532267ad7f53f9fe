"""Numbered immutable records on a folder or a bucket, written put-if-absent, and their signatures."""
