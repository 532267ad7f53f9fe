"""Elasticsearch and OpenSearch, asked by plain HTTP. Checked against their API specifications, never run."""

NEVER_RUN = (
    "search backend elasticsearch: what it sends was checked against the API specifications of Elasticsearch and "
    "OpenSearch, and it was never run against a server; try it on a server of your own before it serves"
)
