"""What the tower's server counts, beside what Prometheus' client counts of each process."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

REQUESTS = Counter("pagoda_tower_requests", "Requests for vectors, by HTTP status.", ("status",))
COMPUTE_SECONDS = Histogram(
    "pagoda_tower_compute_seconds",
    "Reading, computing and writing of one batch.",
    buckets=(0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5),
)
BATCH_REQUESTS = Histogram("pagoda_tower_batch_requests", "Requests of one batch.", buckets=(1, 2, 4, 8, 16, 32))
VERSIONS = Gauge("pagoda_tower_versions", "Full versions that are loaded.")
