"""What serves and what runs beside it: tower, recall, events, item changes, traces, the embedded platform."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal

from pydantic import Field

from pagoda.settings.section import HttpUrl, SettingsSection, one_of
from pagoda.settings.stores import ItemKafkaSettings, KafkaSettings


class TowerSettings(SettingsSection):
    """What computes users' vectors."""

    runtime: Literal["torchserve", "kserve", "in_process"] = "torchserve"
    """A server: TorchServe, or KServe's own model server. Or `in_process`, the recall process itself: `url` and
    `management_url` are then not looked at, and the follower on recall's host brings it the towers."""
    url: Annotated[str, one_of("http", "https", "unix")] = ""
    """Base URL of the inference API, or `unix:/path` of its socket on this machine, which file permissions guard.
    `{full_version}` in it stands for the full version that is asked for: on KServe each has a predictor of its own.
    `{revision}` stands for Knative's tags `latest` and `prev`: which of them has a version changes while a rollout goes
    on, so whoever asks tries both."""
    management_url: str = ""
    """`unix:/path` of TorchServe's management API; empty where a platform manages the models."""
    tables: str = ""
    """Folder of ID tables and segments on the tower's host. Empty: `tables/` below home."""
    hosts: Annotated[str, one_of("http")] = ""
    """Where the followers of all recall pods say what they hold, where the tower runs in these: an address whose name
    stands for each of them. Empty: there is one host, this machine."""
    timeout_seconds: float = Field(default=1.0, gt=0)

    @property
    def server_url(self) -> str:
        """`url`; empty where there is no server to ask, since the tower runs in the recall process."""
        return "" if self.runtime == "in_process" else self.url


class RecallSettings(SettingsSection):
    """The recall service."""

    url: HttpUrl = ""
    hosts: list[str] = Field(default=[])
    """Names that it is called by; a request with another `Host` is refused. Empty: any, for a cluster's probes call a
    pod by its address. `pagoda up` records loopback's."""
    store_seconds: float = Field(default=0.5, gt=0)
    """How long the online store may take; then the user is answered as this process last read them."""
    index_seconds: float = Field(default=1.0, gt=0)
    """How long Milvus may take; then popular items are the answer. For the tower: `tower.timeout_seconds`."""
    users_at_once: int = Field(default=256, ge=1)
    """Users that a process answers at once, one who wants k items counting as k / 100; beyond, those with more than an
    equal share get 503 with Retry-After."""
    cohorts_at_once: int = Field(default=8, ge=1)
    """Cohorts of requests that a process has under way: those that come meanwhile start together, and share their
    calls. `pagoda up` records 1: where all servers share a few cores, few large calls beat many small ones."""
    connections: int = Field(default=4096, ge=1)
    """Connections that a process keeps; further ones take the place of those that wait for a request."""
    connections_of_client: int = Field(default=1024, ge=1)
    """The same for one address, a gateway's among them."""
    drain_seconds: float = Field(default=1.0, ge=0)
    """How long a process goes on after SIGTERM: not ready, and closing connections as it answers."""
    vector_seconds: int | None = Field(default=None, ge=0)
    """How long users' vectors are kept in the online store, for when the tower is down. 0: not at all. Absent: 600, and
    not at all where the tower is in the process itself, unless kept ones are reused."""
    reuse_vectors: bool = False
    """Whether a kept vector spares the tower while profile and behaviour are what it was made of. Time goes on
    meanwhile: ages in the history are then up to `vector_seconds` too low."""
    canary_timeout_seconds: float = Field(default=0.25, gt=0)
    """How long the canary arm may take before the stable arm answers in its place."""
    outcomes_bytes: int = Field(default=128 << 20, ge=1 << 20)
    """Redis memory for what a rollout's gates measure by: 21 bytes a user asked for, so 1.7 hours of 1,000 a second."""


class EventSettings(SettingsSection):
    """Events that clients send, and the dataset that they become a part of."""

    dataset: str = ""
    """Folder or URL of the dataset. Empty: `dataset/` below home."""
    format: Literal["parquet", "tfrecord"] = "parquet"
    """How events are filed. `tfrecord`: as Parquet, which updates read, and once an hour is over also as TFRecord, for
    others who train on them."""
    stream_length: int = Field(default=1_000_000, ge=1)
    """Events that may wait for the sink (about 300 MB of Redis); further ones get 503, or wait in Kafka."""
    forgotten_days: float = Field(default=8.0, gt=0)
    """How long events of a user who was forgotten are dropped: longer than Kafka, and clients, may keep one."""
    ahead_seconds: int = Field(default=60, ge=0)
    """How far an event's time may be ahead of the server's clock."""
    late_days: int = Field(default=30, ge=1)
    """How old an event may be: each date is a file of its own."""
    newcomers: int = Field(default=500_000, ge=1)
    """Users at once of whom nothing but their events is known: nobody loaded them. Events of further ones get 503, or
    with Kafka reach the files alone. About 500 bytes of Redis each."""
    newcomer_days: int = Field(default=7, ge=1)
    """How long what such a user did is remembered after their last event."""
    memory_share: float = Field(default=0.8, gt=0, le=1)
    """Of Redis' `maxmemory`; where more is used, events get 503, and all the rest goes on."""
    kafka: KafkaSettings = KafkaSettings()


class ItemSettings(SettingsSection):
    """Item changes that clients send, and the log that they become a part of."""

    url: HttpUrl = ""
    """Where they are taken: at a port of its own, which callers of recall need not reach."""
    removal_share: float = Field(default=0.1, gt=0, le=1)
    """Of the catalogue that may be removed within `removal_hours`; more takes `pagoda items remove --force`."""
    removal_hours: float = Field(default=24.0, gt=0)
    undo_days: float = Field(default=14.0, gt=0)
    """How long a record can be undone; older ones are compacted."""
    kafka: ItemKafkaSettings = ItemKafkaSettings()

    @property
    def kept(self) -> timedelta:
        """How long records stay: to be undone, and to be counted."""
        return max(timedelta(days=self.undo_days), timedelta(hours=self.removal_hours))


class TracingSettings(SettingsSection):
    """OpenTelemetry traces of requests."""

    endpoint: str = ""
    """Where traces go by OTLP over HTTP: `http://collector:4318/v1/traces`. Empty: there are none, at no cost."""
    share: float = Field(default=1.0, ge=0, le=1)
    """Of the requests that do not come with a trace of their own."""


class StandaloneSettings(SettingsSection):
    """The embedded platform that `pagoda up` runs."""

    ports: dict[str, int] = Field(default={})
    """Port by name, `mlflow: 5000` for example. `pagoda up` chooses the others, once, and records them."""
