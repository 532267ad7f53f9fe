"""What taking events and item changes tells Prometheus."""

from __future__ import annotations

from prometheus_client import Counter, Histogram

EVENTS = Counter("pagoda_events", "Events by how they ended.", ("outcome",))
ITEM_RECORDS = Counter("pagoda_kafka_item_records", "Item changes from Kafka by how they ended.", ("outcome",))
SECONDS = Histogram(
    "pagoda_events_append_seconds",
    "Time to append a request's events.",
    buckets=(0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1),
)
