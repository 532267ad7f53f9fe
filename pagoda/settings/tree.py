"""The one typed tree of settings, and where it is read from."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
    YamlConfigSettingsSource,
)

from pagoda.errors import ConfigError, explain
from pagoda.settings.evaluation import EvaluationSettings
from pagoda.settings.index import IndexSettings
from pagoda.settings.rollout import RolloutSettings
from pagoda.settings.services import (
    EventSettings,
    ItemSettings,
    RecallSettings,
    StandaloneSettings,
    TowerSettings,
    TracingSettings,
)
from pagoda.settings.stores import (
    AccessSettings,
    ElasticsearchSettings,
    MilvusSettings,
    RedisSettings,
    RegistrySettings,
)
from pagoda.settings.training import TrainingSettings
from pagoda.yaml_text import load_yaml

HOME_VARIABLE = "PAGODA_HOME"
SETTINGS_FILE = "pagoda.yaml"
ENDPOINTS_FILE = "endpoints.yaml"
SIGNING_KEY_FILE = "signing.key"


class _SettingsFile(YamlConfigSettingsSource):
    """A file of settings, read like every other YAML that people write."""

    def _read_file(self, file_path: Any) -> dict[str, Any]:
        try:
            content = load_yaml(file_path.read_text(encoding="utf-8"), str(file_path))
        except UnicodeDecodeError as error:
            raise ConfigError(f"{file_path}: not YAML: {error}") from error
        if content is not None and not isinstance(content, dict):
            raise ConfigError(f"{file_path}: must hold a mapping of settings (got {type(content).__name__})")
        return content or {}


class Settings(BaseSettings):
    """Everything that differs between one machine and a cluster."""

    model_config = SettingsConfigDict(env_prefix="PAGODA_", env_nested_delimiter="__", extra="forbid", frozen=True)

    home: Path = Path(".pagoda")
    access: AccessSettings = AccessSettings()
    registry: RegistrySettings = RegistrySettings()
    milvus: MilvusSettings = MilvusSettings()
    elasticsearch: ElasticsearchSettings = ElasticsearchSettings()
    index: IndexSettings = IndexSettings()
    redis: RedisSettings = RedisSettings()
    tower: TowerSettings = TowerSettings()
    recall: RecallSettings = RecallSettings()
    events: EventSettings = EventSettings()
    items: ItemSettings = ItemSettings()
    evaluation: EvaluationSettings = EvaluationSettings()
    rollout: RolloutSettings = RolloutSettings()
    tracing: TracingSettings = TracingSettings()
    training: TrainingSettings = TrainingSettings()
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

    @property
    def towers_folder(self) -> Path:
        """Where the recall process finds the archives of the towers that it loads itself."""
        return self.tables_folder / "towers"

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
        files = (_SettingsFile(settings_cls, home / name) for name in (SETTINGS_FILE, ENDPOINTS_FILE))
        return (init_settings, env_settings, *files)


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
