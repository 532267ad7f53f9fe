"""Milvus: the one place that calls pymilvus."""
