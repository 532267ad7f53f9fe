"""The one typed tree of settings: where this installation keeps its state and where its servers answer.

Precedence: environment (`PAGODA_MILVUS__URI=…`) over `pagoda.yaml` in the home folder over what `pagoda up`
recorded there (`endpoints.yaml`) over the defaults.

Its names are imported from here: the handler in every archive and compiled pipelines do so.
"""

from pagoda.settings.addresses import LOCAL_URL, socket_path, tower_address, tower_addresses
from pagoda.settings.evaluation import EvaluationSettings
from pagoda.settings.index import CollectionConfig, IndexSettings
from pagoda.settings.requirements import lacking, require_parts
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
    ItemKafkaSettings,
    KafkaSettings,
    MilvusSettings,
    RedisSettings,
    RegistrySettings,
)
from pagoda.settings.training import TrainingSettings
from pagoda.settings.tree import (
    ENDPOINTS_FILE,
    HOME_VARIABLE,
    SETTINGS_FILE,
    SIGNING_KEY_FILE,
    Settings,
    load_settings,
)

__all__ = [
    "ENDPOINTS_FILE",
    "HOME_VARIABLE",
    "LOCAL_URL",
    "SETTINGS_FILE",
    "SIGNING_KEY_FILE",
    "AccessSettings",
    "CollectionConfig",
    "ElasticsearchSettings",
    "EvaluationSettings",
    "EventSettings",
    "IndexSettings",
    "ItemKafkaSettings",
    "ItemSettings",
    "KafkaSettings",
    "MilvusSettings",
    "RecallSettings",
    "RedisSettings",
    "RegistrySettings",
    "RolloutSettings",
    "Settings",
    "StandaloneSettings",
    "TowerSettings",
    "TracingSettings",
    "TrainingSettings",
    "lacking",
    "load_settings",
    "require_parts",
    "socket_path",
    "tower_address",
    "tower_addresses",
]
