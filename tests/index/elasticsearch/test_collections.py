"""What is particular to collections on these servers; the rest is `tests/index/test_contract.py`."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from pagoda.cli.platform.platform import _tell_caution
from pagoda.errors import ConfigError, ConflictError, IntegrityError, RequestError, UnavailableError
from pagoda.index import factory
from pagoda.index.build import build_collection
from pagoda.index.elasticsearch.collections import ElasticsearchCollections
from pagoda.index.factory import caution, open_collections, open_search
from pagoda.item_vectors.fields import filter_fields
from pagoda.item_vectors.filter_parser import FilterParser
from pagoda.item_vectors.vector_files import vectors_batch
from pagoda.settings import CollectionConfig, ElasticsearchSettings, IndexSettings, Settings, lacking, load_settings
from pagoda.standalone.platform import Platform
from tests.index.elasticsearch.fakes.indices import RefusedError
from tests.index.elasticsearch.installations import API_KEY, Installed, installed
from tests.item_vectors.worlds import SPEC, items_table, unit_vectors, write_vectors

NAME = "shop_v1_0a1b2c3d"
ROWS = 60


@pytest.fixture
def built(tmp_path: Path) -> Iterator[Installed]:
    with installed(tmp_path, "elasticsearch") as made:
        write_vectors(tmp_path / "v.parquet", ROWS)
        _build(made)
        yield made


def _build(made: Installed) -> bool:
    vectors, collections = made.settings.home / "v.parquet", open_collections(made.settings)
    return build_collection(collections, NAME, vectors, SPEC, queries=unit_vectors(3)).reused


def test_an_index_is_filled_unseen_and_then_merged_refreshed_and_copied(built: Installed) -> None:
    index = built.fake.indices[NAME]
    created = next(
        e.body["settings"]["index"] for e in built.fake.exchanges if (e.method, e.path) == ("PUT", f"/{NAME}")
    )
    assert (created["refresh_interval"], created["number_of_replicas"], created["number_of_shards"]) == ("-1", 0, 2)
    assert (index.settings["refresh_interval"], index.settings["number_of_replicas"], index.segments) == ("1s", 1, 1)
    assert index.settings["max_result_window"] == 16_384
    assert _build(built)


@pytest.mark.parametrize("state", ["filling", "indexing"])
def test_what_a_killed_build_left_is_built_anew(built: Installed, state: str) -> None:
    built.fake.indices[NAME].mappings["_meta"]["pagoda"]["state"] = state
    assert not _build(built)


def test_other_indices_of_the_cluster_are_left_alone(built: Installed) -> None:
    collections = open_collections(built.settings)
    built.fake._create("logs", {"mappings": {"properties": {}}, "settings": {"index": {}}})
    assert collections.names() == [NAME]
    for call in (collections.description, collections.release, collections.start_loading):
        with pytest.raises(IntegrityError, match=r"'logs' at .*none of Pagoda's"):
            call("logs")
    with pytest.raises(ConflictError, match="exists already"):
        collections.create("logs", 16, (), keys=False, description="")


def test_changes_of_a_collection_that_is_gone_make_no_index_of_its_name(built: Installed) -> None:
    collections = open_collections(built.settings)
    collections.drop(NAME)
    with pytest.raises(IntegrityError, match="does not exist"):
        collections.upsert(NAME, vectors_batch(SPEC, items_table(1), unit_vectors(1)))
    with pytest.raises(IntegrityError, match="does not exist"):
        collections.delete(NAME, np.array([1]))
    assert not built.fake.indices


def test_a_server_that_is_busy_is_asked_again(built: Installed) -> None:
    collections = open_collections(built.settings)
    built.fake.busy = 1
    collections.delete(NAME, np.array([1, 2]))
    assert collections.count(NAME) == ROWS - 2


def test_who_asks_without_the_key_is_told_so_and_the_key_is_told_to_nobody(built: Installed) -> None:
    elastic = built.settings.elasticsearch
    assert API_KEY not in repr(built.settings)
    with pytest.raises(UnavailableError, match=r"401.*missing authentication credentials") as error:
        ElasticsearchCollections(elastic.model_copy(update={"api_key": "wrong"})).names()
    assert "wrong" not in str(error.value)
    away = ElasticsearchSettings(url="http://user:secret@127.0.0.1:9", dialect=elastic.dialect)
    with pytest.raises(UnavailableError, match=r"http://\*\*\*@127.0.0.1:9: no answer"):
        ElasticsearchCollections(away).exists(NAME)


async def test_a_user_of_the_url_is_who_asks(built: Installed, monkeypatch: pytest.MonkeyPatch) -> None:
    built.fake._authorization = "Basic dXNlcjpzZWNyZXQ="
    elastic = {"url": built.fake.url.replace("://", "://user:secret@")}
    settings = built.settings.model_copy(update={"elasticsearch": ElasticsearchSettings(**elastic)})
    assert open_collections(settings).names() == [NAME]
    search = open_search(settings, lambda: None)
    wanted = FilterParser(SPEC).parse()
    (found,) = await search.search(NAME, unit_vectors(1).tolist(), 5, wanted=wanted, excluded=(), keys=False)
    assert len(found) == 5
    await search.close()
    monkeypatch.setenv("PAGODA_ELASTICSEARCH", json.dumps(elastic | {"api_key": API_KEY}))
    with pytest.raises(ConfigError, match="give one of them") as error:
        load_settings(settings.home)
    assert API_KEY not in str(error.value) and "secret" not in str(error.value)


async def test_a_filter_of_too_many_values_is_no_outage_and_whatever_else_is_refused_is_one(
    built: Installed, monkeypatch: pytest.MonkeyPatch
) -> None:
    search, parse = open_search(built.settings, lambda: None), FilterParser(SPEC).parse

    async def ask(wanted: Any = None, dim: int = 16) -> None:
        vectors = unit_vectors(1, dim=dim).tolist()
        await search.search(NAME, vectors, 5, wanted=parse(wanted), excluded=(), keys=False)

    for wanted in (None, {"kind": "a"}):
        with pytest.raises(UnavailableError, match=NAME) as error:
            await ask(wanted, dim=4)
        assert error.value.part == "index"

    def refuse(_: object) -> None:
        raise RefusedError("query_shard_exception", "failed to create query: maxClauseCount is set to 1024")

    monkeypatch.setattr(built.fake.indices[NAME], "search", refuse)
    with pytest.raises(RequestError, match="filter by kind"):
        await ask({"kind": "a"})
    with pytest.raises(UnavailableError):
        await ask()
    await search.close()


@pytest.mark.parametrize(
    ("name", "kind", "complaint"),
    [
        ("Shop_v1", "HNSW", "no capitals.*registry.model"),
        ("_v1", "HNSW", "begins with"),
        ("v1", "IVF_PQ", "not IVF_PQ"),
    ],
)
def test_an_index_that_cannot_be_is_refused_by_name(name: str, kind: Any, complaint: str) -> None:
    collections = ElasticsearchCollections(ElasticsearchSettings(url="http://127.0.0.1:9"))
    with pytest.raises(ConfigError, match=f"'{name}'.*{complaint}"):
        collections.create(name, 4, filter_fields(SPEC), keys=False, description="", config=CollectionConfig(kind=kind))


def test_settings_say_what_is_lacking_and_refuse_kinds_that_are_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings(home=tmp_path, index=IndexSettings(backend="elasticsearch"))
    assert lacking(settings, "index") == ["elasticsearch.url"]
    monkeypatch.setenv("PAGODA_INDEX", '{"backend": "elasticsearch", "kind": "HNSW_SQ8"}')
    with pytest.raises(ConfigError, match="HNSW_SQ8 is not built by backend elasticsearch: take HNSW or FLAT"):
        load_settings(tmp_path)


def test_pagoda_up_says_that_it_was_never_run(tmp_path: Path) -> None:
    (tmp_path / "pagoda.yaml").write_text("index: {backend: elasticsearch}")
    told = Console(file=StringIO(), width=400)
    _tell_caution(Platform(tmp_path), told)
    assert "never run against a server" in told.file.getvalue()


def test_that_it_was_never_run_is_said_once_in_a_process(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    factory._warn.cache_clear()
    settings = Settings(home=tmp_path, index=IndexSettings(backend="elasticsearch"))
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            open_collections(settings)
    (record,) = caplog.records
    assert record.getMessage() == caution(settings)
    assert "never run against a server" in caution(settings)
    assert not caution(Settings(home=tmp_path))
