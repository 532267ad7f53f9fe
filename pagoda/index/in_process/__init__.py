"""Exact search in the process that asks, over collections in a folder: no server, for small catalogues and tests."""
