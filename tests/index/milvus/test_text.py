"""Words on Milvus: what a server of 2.5 and later is told, which none here is, and what an older one says."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import orjson
import pyarrow as pa
import pytest
from pymilvus.grpc_gen.common_pb2 import PlaceholderGroup, PlaceholderType
from pymilvus.grpc_gen.schema_pb2 import CollectionSchema, FunctionType

from pagoda.errors import ConfigError
from pagoda.index import factory
from pagoda.index.factory import caution, open_collections
from pagoda.index.milvus.collections import MilvusCollections
from pagoda.index.milvus.full_text import require_version, stored
from pagoda.index.milvus.search import MilvusSearch
from pagoda.item_vectors.fields import filter_fields
from pagoda.item_vectors.filter_parser import FilterParser
from pagoda.item_vectors.texts import TEXT, with_texts
from pagoda.item_vectors.vector_files import vectors_batch
from pagoda.settings import CollectionConfig, IndexSettings, MilvusSettings, Settings
from pagoda.updates.full import FullUpdate
from tests.index.milvus.recording import RecordingMilvus, recording
from tests.item_vectors.worlds import SPEC, items_table, unit_vectors
from tests.training.worlds import make

FIELDS = [*filter_fields(SPEC), TEXT]


@pytest.fixture
def server() -> Iterator[RecordingMilvus]:
    with recording("v2.5.4") as recorder:
        yield recorder


def rows(*texts: str) -> pa.RecordBatch:
    count = len(texts)
    return with_texts(vectors_batch(SPEC, items_table(count), unit_vectors(count)), pa.array(texts))


def create(server: RecordingMilvus) -> MilvusCollections:
    collections = MilvusCollections(server.uri)
    collections.create("items", 16, FIELDS, keys=False, description="words")
    return collections


def test_a_collection_with_words_has_a_text_that_the_server_counts_and_an_index_of_that(
    server: RecordingMilvus,
) -> None:
    collections = create(server)
    collections.start_index("items", CollectionConfig())
    schema = CollectionSchema.FromString(server.told["CreateCollection"][0].schema)
    fields = {field.name: {pair.key: pair.value for pair in field.type_params} for field in schema.fields}
    assert orjson.loads(fields["pagoda_text"].pop("analyzer_params")) == {"tokenizer": "whitespace"}
    assert fields["pagoda_text"] == {"max_length": "65535", "enable_analyzer": "true"}
    assert [field.is_function_output for field in schema.fields if field.name == "pagoda_words"] == [True]
    (function,) = schema.functions
    assert (function.type, list(function.input_field_names), list(function.output_field_names)) == (
        FunctionType.BM25,
        ["pagoda_text"],
        ["pagoda_words"],
    )
    first, second = server.told["CreateIndex"]
    params = {pair.key: pair.value for pair in first.extra_params}
    assert (first.field_name, second.field_name) == ("pagoda_words", "vector"), "who has the vectors' has both"
    assert (params["index_type"], params["metric_type"]) == ("SPARSE_INVERTED_INDEX", "BM25")
    assert (params["bm25_k1"], params["bm25_b"]) == ("1.2", "0.75")


def test_words_of_items_are_written_as_collections_in_process_read_them(server: RecordingMilvus) -> None:
    collections = create(server)
    collections.insert("items", rows("Café Müller", ""))
    collections.upsert("items", rows("红裙子"))
    for message, texts in (("Insert", ["cafe muller", ""]), ("Upsert", ["红 红 红裙 裙 裙子 子 子"])):
        (sent,) = server.told[message]
        columns = {field.field_name: field for field in sent.fields_data}
        assert list(columns["pagoda_text"].scalars.string_data.data) == texts
        assert "pagoda_words" not in columns, "the server makes them"


def test_long_texts_go_in_smaller_messages_and_as_many_words_as_a_field_holds(
    server: RecordingMilvus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pagoda.index.milvus.collections._ROWS_BYTES", 10_000)
    create(server).insert("items", rows(*["word " * 200] * 12))
    assert [sent.num_rows for sent in server.told["Insert"]] == [6, 6]
    longest = stored("红" * 10_000)
    assert len(longest.encode()) <= 65_535 < len(longest.encode()) + len(" 红红")
    assert set(longest.split(" ")) == {"红", "红红"}


async def test_a_text_is_looked_for_by_its_words_under_filter_and_exclusions(server: RecordingMilvus) -> None:
    search, wanted = MilvusSearch(server.uri, "", 10.0, 64), FilterParser(SPEC).parse({"kind": "kind 1"})
    assert search.match
    found = await search.match("items", "Red DRESS, red!", 7, wanted=wanted, excluded=(4,), keys=False)
    assert await search.match("items", "?!", 7, wanted=wanted, excluded=(), keys=False) == []
    await search.close()
    assert found == [{"item_id": 5, "score": 1.5}, {"item_id": 3, "score": 0.5}]
    (asked,) = server.told["Search"]
    (looked_for,) = PlaceholderGroup.FromString(asked.placeholder_group).placeholders
    params = {pair.key: pair.value for pair in asked.search_params}
    assert (looked_for.type, looked_for.values[0].decode()) == (PlaceholderType.VarChar, "red dress")
    assert (params["anns_field"], params["metric_type"], params["topk"]) == ("pagoda_words", "BM25", "7")
    assert asked.dsl == 'kind in ["kind 1"] and item_id not in [4]'


@pytest.mark.parametrize(
    ("version", "refused"), [("2.4.23", True), ("v2.5.0", False), ("2.6.16-gpu", False), ("master-0621a8c", False)]
)
def test_a_server_is_refused_by_its_version_where_it_says_one(version: str, refused: bool) -> None:
    if refused:
        with pytest.raises(ConfigError, match=rf"index\.text: the Milvus at here is {version}, .* 2\.5 or later"):
            require_version(version, "here")
    else:
        require_version(version, "here")


def test_who_relies_on_it_is_told_that_it_was_never_run(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    factory._warn.cache_clear()
    with caplog.at_level(logging.WARNING):
        for text in (False, True, True):
            open_collections(settings := Settings(home=tmp_path, index=IndexSettings(text=text))).close()
    (record,) = caplog.records
    assert record.getMessage() == caution(settings)
    assert "never run against a Milvus of 2.5" in caution(settings)


@pytest.mark.integration
def test_the_embedded_server_is_refused_before_anything_is_learned_or_built(
    collections: MilvusCollections, tmp_path: Path
) -> None:
    why = r"index\.text: the Milvus at .* is v2\.3\.5-lite, which searches no words"
    settings = Settings(
        home=tmp_path / "home", milvus=MilvusSettings(uri=collections.uri), index=IndexSettings(text=True)
    )
    with pytest.raises(ConfigError, match=why):
        FullUpdate.resolve(settings, str(make(tmp_path / "data").path), "")
    with pytest.raises(ConfigError, match=why):
        collections.create("words", 16, FIELDS, keys=False, description="")
    assert not collections.exists("words")
