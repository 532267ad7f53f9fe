"""Milvus: the one place that calls pymilvus."""

WORDS_NEVER_RUN = (
    "index.text on Milvus: what is sent was checked against pymilvus and milvus-lite, and was never run against a "
    "Milvus of 2.5 or later; try it on a server of your own before it serves"
)
