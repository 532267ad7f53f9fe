"""Milvus: the one place that calls pymilvus to build and change collections."""
