"""The one typed tree of settings: where this installation keeps its state and where its servers answer.

Precedence: environment (`PAGODA_MILVUS__URI=…`) over `pagoda.yaml` in the home folder over what `pagoda up`
recorded there (`endpoints.yaml`) over the defaults.
"""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
    YamlConfigSettingsSource,
)

from pagoda.errors import ConfigError, explain

HOME_VARIABLE = "PAGODA_HOME"
SETTINGS_FILE = "pagoda.yaml"
ENDPOINTS_FILE = "endpoints.yaml"
SIGNING_KEY_FILE = "signing.key"
_KEY_CHARACTERS = 32
_REVISION, _TAGS = "{revision}", ("latest", "prev")
LOCAL_URL = "http://localhost"
"""What stands in requests for the host of a Unix socket."""


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


def _of(*schemes: str) -> AfterValidator:
    """A URL of one of the schemes, or empty. The message does not repeat it: it may hold a password."""

    def check(url: str) -> str:
        try:
            parts = urlsplit(url)
            _ = parts.port  # raises where it is no number
            known = not url or parts.scheme in schemes
        except ValueError:
            known = False
        if not known:
            raise ValueError(f"must begin with {' or '.join(f'{scheme}://' for scheme in schemes)}; a port is a number")
        return url

    return AfterValidator(check)


_HttpUrl = Annotated[str, _of("http", "https")]


def _long(key: str) -> str:
    if 0 < len(key) < _KEY_CHARACTERS:
        raise ValueError(f"must have {_KEY_CHARACTERS} characters or more; `openssl rand -hex 32` makes one")
    return key


class RegistrySettings(_Section):
    """The model registry and the release log."""

    uri: str = ""
    """MLflow tracking URI. Empty: versions are kept in a folder below home, without a server."""
    model: str = "recall"
    """Name of the registered model."""
    log: str = ""
    """Folder or object-store URL of the release log. Empty: `log/` below home."""
    signing_key: Annotated[str, AfterValidator(_long)] = Field(default="", repr=False)
    """Signs the records of the release log and the item log, where others can write to their store; 32 characters or
    more, the same for all that read or write. Empty: that of `signing.key` in home, which `pagoda up` makes."""
    artifacts: str = ""
    """Folder or object-store URL of step outputs and segments. Empty: `artifacts/` below home."""


class AccessSettings(_Section):
    """Who may do what."""

    tokens: str = ""
    """Folder with a file of tokens for each role. Empty: `tokens/` below home, for this installation's recall service
    alone; a folder that is named here is also for a service whose URL a command is given."""


class MilvusSettings(_Section):
    """The vector database."""

    uri: str = ""
    token: str = Field(default="", repr=False)
    timeout_seconds: float = Field(default=10.0, gt=0)
    imports: str = ""
    """Folder of Milvus' own object storage (`s3://bucket/imports`), from which it reads item vectors by itself. Empty:
    they are inserted row by row, some thousands a second."""


_BUILD = {"HNSW": ("m", "ef_construction"), "IVF_FLAT": ("nlist",), "FLAT": ()}
"""Which parameters a kind of index is built with."""


class CollectionConfig(_Section):
    """How a collection is built, searched, and judged before it is offered."""

    kind: Literal["HNSW", "IVF_FLAT", "FLAT"] = "HNSW"
    """HNSW, a navigable small-world graph (Malkov and Yashunin, 2016): best recall for its latency. IVF_FLAT, vectors
    in clusters that are searched whole: less memory than a graph, for tens of millions of items. FLAT compares every
    vector: exact, for small catalogues."""
    m: int = Field(default=16, ge=2, le=2048)
    """HNSW: links of a node. More: better recall, more memory (8·m bytes an item), slower build."""
    ef_construction: int = Field(default=200, ge=8)
    """HNSW: candidates held while building. More: better graph, slower build."""
    nlist: int = Field(default=1024, ge=1, le=65_536)
    """IVF_FLAT: number of clusters; about 4·sqrt(items)."""
    effort: int = Field(default=128, ge=1)
    """Search effort. HNSW: candidates held (`ef`). IVF_FLAT: clusters searched (`nprobe`)."""
    minimum_recall: float = Field(default=0.98, ge=0, le=1)
    """ANN recall@100 against exact search that a collection must reach."""

    @property
    def build(self) -> dict[str, int]:
        """The parameters that its kind of index is built with."""
        return {name: getattr(self, name) for name in _BUILD[self.kind]}

    @model_validator(mode="after")
    def _fits_its_kind(self) -> Self:
        for kind, names in _BUILD.items():
            for name in names:
                if kind != self.kind and getattr(self, name) != type(self).model_fields[name].default:
                    raise ValueError(f"{name} is a parameter of {kind}, and kind is {self.kind}")
        return self


class RedisSettings(_Section):
    """The online store of profiles and recent behaviour."""

    url: Annotated[str, _of("redis", "rediss", "unix")] = ""


class TowerSettings(_Section):
    """The user tower's server."""

    url: Annotated[str, _of("http", "https", "unix")] = ""
    """Base URL of the inference API, or `unix:/path` of its socket on this machine, which file permissions guard.
    `{full_version}` in it stands for the full version that is asked for: on KServe each has a predictor of its own.
    `{revision}` stands for Knative's tags `latest` and `prev`: which of them has a version changes while a rollout goes
    on, so whoever asks tries both."""
    management_url: str = ""
    """`unix:/path` of TorchServe's management API; empty where a platform manages the models."""
    tables: str = ""
    """Folder of ID tables and segments on the tower's host. Empty: `tables/` below home."""
    timeout_seconds: float = Field(default=1.0, gt=0)


class RecallSettings(_Section):
    """The recall service."""

    url: _HttpUrl = ""
    hosts: list[str] = []
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
    vector_seconds: int = Field(default=600, ge=0)
    """How long users' vectors are kept in the online store, for when the tower is down. 0: not at all."""
    reuse_vectors: bool = False
    """Whether a kept vector spares the tower while profile and behaviour are what it was made of. Time goes on
    meanwhile: ages in the history are then up to `vector_seconds` too low."""
    canary_timeout_seconds: float = Field(default=0.25, gt=0)
    """How long the canary arm may take before the stable arm answers in its place."""
    outcomes_bytes: int = Field(default=128 << 20, ge=1 << 20)
    """Redis memory for what a rollout's gates measure by: 21 bytes a user asked for, so 1.7 hours of 1,000 a second."""


class KafkaSettings(_Section):
    """Kafka, which takes events before the stream in Redis does."""

    servers: str = ""
    """`host:port`, several with commas. Empty: there is no Kafka, and events go straight into the stream."""
    topic: str = "pagoda-events"
    tls: bool = False
    username: str = ""
    """For SASL. Empty: none."""
    password: str = Field(default="", repr=False)
    mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "SCRAM-SHA-512"


class EventSettings(_Section):
    """Events that clients send, and the dataset that they become a part of."""

    dataset: str = ""
    """Folder or URL of the dataset. Empty: `dataset/` below home."""
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


class ItemSettings(_Section):
    """Item changes that clients send, and the log that they become a part of."""

    url: _HttpUrl = ""
    """Where they are taken: at a port of its own, which callers of recall need not reach."""
    removal_share: float = Field(default=0.1, gt=0, le=1)
    """Of the catalogue that may be removed within `removal_hours`; more takes `pagoda items remove --force`."""
    removal_hours: float = Field(default=24.0, gt=0)
    undo_days: float = Field(default=14.0, gt=0)
    """How long a record can be undone; older ones are compacted."""

    @property
    def kept(self) -> timedelta:
        """How long records stay: to be undone, and to be counted."""
        return max(timedelta(days=self.undo_days), timedelta(hours=self.removal_hours))


class RolloutSettings(_Section):
    """How a new generation gets its traffic."""

    backend: Literal["", "local", "kserve"] = ""
    """Where the driver of this installation runs generations. Empty: there is none, so updates release at once.
    `pagoda up` records `local`."""
    incremental: Literal["rollout", "now"] = "rollout"
    """How incremental versions come to their users where a driver runs: by a rollout with the short policy, or at once.
    `pagoda up` records `now`: where few requests come, there is nothing to judge rows by."""
    full_policy: str = ""
    """File with the policy of full versions, or the policy itself as `{…}`; see docs/rollout.md. Empty: the default."""
    incremental_policy: str = ""
    """The same for incremental versions."""
    inference_service: str = ""
    """KServe: name of the user tower's InferenceService."""
    lease: str = ""
    """KServe: name of the Lease that keeps what the driver must remember."""
    namespace: str = ""
    """KServe: where both are."""
    min_replicas: int = Field(default=1, ge=1)
    """KServe: fewest pods of the stable arm; the driver is the one who tells KServe."""
    max_replicas: int = Field(default=0, ge=0)
    """KServe: most pods of the stable arm where an autoscaler sets them; 0 where none does."""


class TracingSettings(_Section):
    """OpenTelemetry traces of requests."""

    endpoint: str = ""
    """Where traces go by OTLP over HTTP: `http://collector:4318/v1/traces`. Empty: there are none, at no cost."""
    share: float = Field(default=1.0, ge=0, le=1)
    """Of the requests that do not come with a trace of their own."""


class StandaloneSettings(_Section):
    """The embedded platform that `pagoda up` runs."""

    ports: dict[str, int] = {}
    """Port by name, `mlflow: 5000` for example. `pagoda up` chooses the others, once, and records them."""


class Settings(BaseSettings):
    """Everything that differs between one machine and a cluster."""

    model_config = SettingsConfigDict(env_prefix="PAGODA_", env_nested_delimiter="__", extra="forbid", frozen=True)

    home: Path = Path(".pagoda")
    access: AccessSettings = AccessSettings()
    registry: RegistrySettings = RegistrySettings()
    milvus: MilvusSettings = MilvusSettings()
    index: CollectionConfig = CollectionConfig()
    redis: RedisSettings = RedisSettings()
    tower: TowerSettings = TowerSettings()
    recall: RecallSettings = RecallSettings()
    events: EventSettings = EventSettings()
    items: ItemSettings = ItemSettings()
    rollout: RolloutSettings = RolloutSettings()
    tracing: TracingSettings = TracingSettings()
    logs: Literal["text", "json"] = "text"
    """Form of the log lines of recall and workers; JSON ones name trace, arm and generation."""
    standalone: StandaloneSettings = StandaloneSettings()

    @property
    def log_url(self) -> str:
        """Where the release log is."""
        return self.registry.log or str(self.home / "log")

    @property
    def signing_key(self) -> str:
        """What the logs are signed with; empty where they are not."""
        path = self.home / SIGNING_KEY_FILE
        if self.registry.signing_key or not path.exists():
            return self.registry.signing_key
        return path.read_text().strip()

    @property
    def artifacts_url(self) -> str:
        """Where step outputs and segments are."""
        return self.registry.artifacts or str(self.home / "artifacts")

    @property
    def tokens_folder(self) -> Path:
        """Where the tokens are."""
        return Path(self.access.tokens) if self.access.tokens else self.home / "tokens"

    @property
    def events_dataset(self) -> str:
        """The dataset that events and item changes are written into."""
        return self.events.dataset or str(self.home / "dataset")

    def dataset(self, named: str) -> str:
        """The dataset that somebody named; where nobody did, that of the events.

        Raises:
            ConfigError: Nobody did, and there is none that events are written into.
        """
        if named or self.events.dataset or Path(self.events_dataset).exists():
            return named or self.events_dataset
        raise ConfigError(
            f"dataset: none is named, PAGODA_EVENTS__DATASET (chart: events.dataset) is not set, and there is none at "
            f"{self.events_dataset}; name a folder or a URL, like s3://bucket/dataset"
        )

    @property
    def tables_folder(self) -> Path:
        """Where the tower's host keeps ID tables and segments."""
        return Path(self.tower.tables) if self.tower.tables else self.home / "tables"

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        home = _home(init_settings)
        files = (YamlConfigSettingsSource(settings_cls, home / name) for name in (SETTINGS_FILE, ENDPOINTS_FILE))
        return (init_settings, env_settings, *files)


def tower_address(url: str, full_version: int) -> str:
    """Address of the tower's model for a full version, for `url` as in `TowerSettings`; the first of several."""
    return tower_addresses(url, full_version)[0]


def tower_addresses(url: str, full_version: int) -> tuple[str, ...]:
    """All addresses where a full version may answer, for `url` as in `TowerSettings`; at most one of them has it."""
    base = (LOCAL_URL if socket_path(url) else url.rstrip("/")).replace("{full_version}", str(full_version))
    bases = [base.replace(_REVISION, tag) for tag in _TAGS] if _REVISION in base else [base]
    return tuple(f"{one}/predictions/pagoda/{full_version}.0" for one in bases)


def socket_path(url: str) -> str | None:
    """The path of the Unix socket that `unix:/path` names; None for another URL."""
    return urlsplit(url).path if url.startswith("unix:") else None


def _home(init_settings: PydanticBaseSettingsSource) -> Path:
    given = init_settings().get("home")
    return Path(given or os.environ.get(HOME_VARIABLE) or Settings.model_fields["home"].default)


def load_settings(home: Path | None = None) -> Settings:
    """Read the settings of the installation in `home` (default: `$PAGODA_HOME`, else `.pagoda`).

    Raises:
        ConfigError: A key is unknown or a value is wrong.
    """
    try:
        settings = Settings(home=home) if home else Settings()
    except ValidationError as error:
        raise ConfigError(explain(error, "settings")) from error
    except SettingsError as error:
        raise ConfigError(f"settings: {error}: {error.__cause__}") from error
    return settings.model_copy(update={"home": settings.home.resolve()})
