"""Names that mean something elsewhere are refused before anything is learned, and are those of models and schemas."""

from __future__ import annotations

from pathlib import Path

import pytest

from pagoda.data.checks import names
from pagoda.data.checks.check import check_dataset
from pagoda.data.checks.problems import Kind
from pagoda.data.imports.importer import Import, import_files
from pagoda.data.imports.readers import CsvReader
from pagoda.data.spec import Categorical, Dense, FeatureSpec, MultiValued, Rules
from pagoda.errors import ConfigError
from pagoda.index.milvus.full_text import WORDS
from pagoda.item_vectors.fields import vectors_schema
from pagoda.item_vectors.texts import TEXT
from serving.events.bodies import SentEvent
from serving.http.fields import PastItem
from serving.recall.api import RecalledItem, RecallInstance
from tests.data.folders import interaction, moment, write_dataset


def test_the_names_are_those_of_models_and_schemas() -> None:
    collection = vectors_schema(FeatureSpec(id_type="string", rules=Rules(popularity=True)), 2)
    assert set(SentEvent.model_fields) == names.IN_EVENTS | {"receipt"}
    assert set(RecallInstance.model_fields) == names.IN_REQUESTS | {"text", "merge", "explain"}
    assert set(RecalledItem.__annotations__) == names.IN_ANSWERS | {"channels", "propensity", "recall_score"}
    assert {*collection.names, TEXT.name, WORDS} == names.IN_COLLECTIONS
    assert set(PastItem.__annotations__) <= names.RESERVED_NAMES | {"text"}


def import_with(folder: Path, features: str, log: str, items: str | None = None) -> Path:
    (folder / "features.yaml").write_text(f"features:\n  - {features}\n")
    (folder / "log.csv").write_text(log)
    if items:
        (folder / "items.csv").write_text(items)
    given = {"items": folder / "items.csv"} if items else {}
    import_files(folder / "out", Import(CsvReader(), folder / "log.csv", features=folder / "features.yaml", **given))
    return folder / "out"


def test_a_context_feature_event_id_is_refused_at_import(tmp_path: Path) -> None:
    log = "user_id,item_id,timestamp,event_id\n1,1,2024-05-01T09:00:00Z,home\n"
    with pytest.raises(ConfigError, match=r"features.yaml: feature 'event_id': .*events.*--rename NEW=event_id"):
        import_with(tmp_path, "{kind: categorical, name: event_id, tower: user, source: context}", log)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["like", "IN", "Exists", "not", "true", "json_contains", "text_match", "Timestamp"])
def test_a_filterable_feature_called_like_a_word_of_milvus_is_refused_at_import(tmp_path: Path, name: str) -> None:
    log, items = "user_id,item_id,timestamp\n1,1,2024-05-01T09:00:00Z\n", f"item_id,{name}\n1,a\n"
    with pytest.raises(ConfigError, match=f"feature '{name}': Milvus.*--rename NEW={name}"):
        import_with(tmp_path, f"{{kind: categorical, name: '{name}', tower: item, filterable: true}}", log, items)


def test_such_a_name_is_a_feature_like_others_where_nobody_filters_by_it(tmp_path: Path) -> None:
    log, items = "user_id,item_id,timestamp\n1,1,2024-05-01T09:00:00Z\n", "item_id,like\n1,a\n"
    path = import_with(tmp_path, "{kind: categorical, name: like, tower: item}", log, items)
    assert check_dataset(path).report.ok


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        (FeatureSpec(features=(Categorical(name="k", tower="user"),)), "feature 'k': .*requests"),
        (FeatureSpec(title="vector"), "title 'vector': .*collections"),
        (FeatureSpec(rules=Rules(weight="score")), "rules.weight 'score': .*answers"),
        (FeatureSpec(features=(Dense(name="d", tower="item", length=2, filterable=True),)), "dense .*filterable"),
        (FeatureSpec(features=(Categorical(name="a-b", tower="item", filterable=True),)), "letters, digits"),
        (
            FeatureSpec(features=(MultiValued(name="t", tower="item", filterable=True, default=("x" * 1025,)),)),
            "its default is too long",
        ),
    ],
)
def test_check_says_so_of_a_dataset_that_is_there(tmp_path: Path, spec: FeatureSpec, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        names.refuse_names(spec, "features.yaml")
    row = {key: value for key, value in interaction(moment("10:00")).items() if key != "device"}
    path = write_dataset(tmp_path / "d", spec=spec, parts=[("date=2024-05-01", [row])], items=[{"item_id": 10}])
    (problem,) = [one for one in check_dataset(path).report.problems if one.kind is Kind.SPEC]
    assert problem.file.endswith("features.yaml")
