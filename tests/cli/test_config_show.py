"""`pagoda config show`: every setting, where it comes from, and no secret."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from pydantic import BaseModel
from typer.testing import CliRunner

from pagoda.cli.main import app
from pagoda.errors import ConfigError
from pagoda.settings import Settings

SECRETS = ("hunter2", "s3cret-of-milvus", "geheim", "k" * 32, "of-redis")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("PAGODA_HOME", raising=False)
    monkeypatch.setenv("PAGODA_INDEX__M", "48")
    monkeypatch.setenv("PAGODA_EVENTS__KAFKA__PASSWORD", "geheim")
    monkeypatch.setenv("PAGODA_REGISTRY__SIGNING_KEY", "k" * 32)
    (tmp_path / "pagoda.yaml").write_text(
        "milvus: {uri: 'http://root:hunter2@milvus:19530', token: s3cret-of-milvus}\n"
        "index: {m: 32, ef_construction: 300}\n"
    )
    (tmp_path / "endpoints.yaml").write_text(
        "redis: {url: 'redis://:of-redis@127.0.0.1:6379/0'}\n"
        "index: {m: 8, ef_construction: 8}\n"
        "recall: {connections: 99}\n"
    )
    return tmp_path


def show(home: Path, *words: str, width: int = 80) -> Result:
    return CliRunner().invoke(app, ["config", "show", *words, "--home", str(home)], env={"COLUMNS": str(width)})


def test_each_setting_says_where_it_comes_from(home: Path) -> None:
    found = json.loads(show(home, "--output", "json").stdout)
    assert found["index.m"] == {"value": 48, "from": "environment"}
    assert found["index.ef_construction"] == {"value": 300, "from": "pagoda.yaml"}
    assert found["recall.connections"] == {"value": 99, "from": "endpoints.yaml"}
    assert found["index.kind"] == {"value": "HNSW", "from": "default"}
    assert found["home"] == {"value": str(home), "from": "--home or PAGODA_HOME"}
    assert set(found) == set(_keys(Settings.model_construct(), ""))


@pytest.mark.parametrize("output", ["table", "json"])
def test_secrets_are_masked_and_said_to_be_there(home: Path, output: str) -> None:
    shown = show(home, "--output", output).stdout
    assert not [secret for secret in SECRETS if secret in shown]
    assert "http://***@milvus:19530" in shown and shown.count("***") == len(SECRETS)


@pytest.mark.parametrize("width", [80, 100])
def test_settings_and_origins_stand_whole(home: Path, width: int) -> None:
    lines = [line.rstrip() for line in show(home, width=width).stdout.splitlines()]
    assert max(map(len, lines)) <= width and not any("…" in line for line in lines)
    assert ["index.m", "48", "environment"] in [line.split() for line in lines]
    assert set(_keys(Settings.model_construct(), "")) <= {line.partition(" ")[0] for line in lines}


def test_what_is_wrong_is_said_as_by_every_verb(home: Path) -> None:
    (home / "pagoda.yaml").write_text("milvus: {url: x}\n")
    assert isinstance(show(home).exception, ConfigError)


def test_what_sounds_like_a_secret_is_declared_as_one() -> None:
    """What a section does not print of itself is what is masked; so a new secret has to be declared `repr=False`."""
    named = re.compile(r"(password|secret|token|key)$")
    declared = {key: field.repr for key, field in _fields(Settings, "") if named.search(key)}
    assert declared and not any(declared.values())


def _keys(section: BaseModel, above: str) -> Iterator[str]:
    for name in type(section).model_fields:
        value: Any = getattr(section, name)
        yield from _keys(value, f"{above}{name}.") if isinstance(value, BaseModel) else [f"{above}{name}"]


def _fields(section: type[BaseModel], above: str) -> Iterator[tuple[str, Any]]:
    for name, field in section.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from _fields(kind, f"{above}{name}.")
        else:
            yield f"{above}{name}", field
