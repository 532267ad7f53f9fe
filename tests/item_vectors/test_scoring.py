"""Weights and the popularity penalty are a part of the search itself, in files, probes, collections and requests."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pagoda.data.spec import FeatureSpec, Numeric, Rules
from pagoda.errors import ConfigError, DataError, RequestError
from pagoda.index.base import Collections
from pagoda.index.build import build_collection
from pagoda.item_changes.changes import items_table, upserted
from pagoda.item_vectors.scoring import query, score, stored_batch, stored_vectors
from pagoda.item_vectors.vector_files import ItemVectors, ItemVectorsWriter, vectors_batch

DIM, ITEMS, K = 16, 3000, 20
SPEC = FeatureSpec(
    features=(Numeric(name="year", tower="item", edges=(1990,), filterable=True),),
    rules=Rules(weight="value", popularity=True, penalty=0.01),
)


def unit(random: np.random.Generator, count: int) -> np.ndarray:
    vectors = random.normal(size=(count, DIM)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def catalogue(random: np.random.Generator) -> tuple[pa.Table, np.ndarray, np.ndarray, np.ndarray]:
    """Items, their vectors, weights and shares; every tenth has no weight, which is 1."""
    weights = random.uniform(0.5, 1.5, ITEMS)
    given = [None if number % 10 == 0 else float(weight) for number, weight in enumerate(weights)]
    table = pa.table(
        {"item_id": np.arange(ITEMS), "year": np.full(ITEMS, 2000.0), "value": pa.array(given, pa.float64())}
    )
    weights[::10] = 1.0
    clicks = random.zipf(1.5, ITEMS).clip(max=10_000)
    return table, unit(random, ITEMS), weights, clicks / clicks.sum()


def expected(user: np.ndarray, vectors: np.ndarray, weights: np.ndarray, shares: np.ndarray, beta: float) -> np.ndarray:
    """The score as it is defined."""
    scores: np.ndarray = weights * (vectors @ user) - beta * np.log(shares)
    return scores


@given(beta=st.floats(0, 10), weight=st.floats(0.01, 100), share=st.floats(1e-9, 1))
def test_the_inner_product_is_the_score(beta: float, weight: float, share: float) -> None:
    random = np.random.default_rng(1)
    vectors, user = unit(random, 1), unit(random, 1)[0]
    table = pa.table({"item_id": [7], "year": [2000.0], "value": [weight]})
    stored = stored_vectors(vectors, vectors_batch(SPEC, table, vectors, np.array([share])))
    found = score(float(np.array(query(user.tolist(), beta)) @ stored[0].astype(np.float64)), beta)
    assert found == pytest.approx(weight * float(vectors[0] @ user) - beta * np.log(share), rel=1e-4, abs=1e-4)


def test_a_collection_answers_by_the_score_and_takes_new_weights(tmp_path: Path, any_collections: Collections) -> None:
    random = np.random.default_rng(2)
    table, vectors, weights, shares = catalogue(random)
    path = tmp_path / "item_vectors.parquet"
    with ItemVectorsWriter(path, SPEC, DIM) as writer:
        writer.write(table, vectors, shares)
    source = ItemVectors(path, SPEC)
    assert source.dim == DIM
    assert np.array_equal(next(source.blocks())[1], vectors)  # the file keeps unit vectors, for whoever learns on them
    name = "rules"
    report = build_collection(any_collections, name, path, SPEC, queries=unit(random, 100))
    assert (report.dim, report.recall_at_100 > 0.98) == (DIM + 1, True)
    users = unit(random, 20)
    for beta in (0.0, 0.02, 0.5):
        asked = np.array([query(user.tolist(), beta) for user in users], np.float32)
        hits = any_collections.search(name, asked, K, effort=ITEMS)
        for user, found in zip(users, hits, strict=True):
            scores = expected(user, vectors, weights, shares, beta)
            best = np.sort(scores)[::-1][:K]
            assert [score(float(one), beta) for one in found.scores] == pytest.approx(best.tolist(), abs=1e-4)
    change = upserted(SPEC, {"item_id": 5, "year": 2000.0, "value": 9.0}, "item")
    rows = vectors_batch(SPEC, items_table(SPEC, [change]), vectors[5:6], shares[5:6])
    any_collections.upsert(name, stored_batch(SPEC, rows))
    asked = np.array([query(vectors[5].tolist(), 0.0)], np.float32)
    deadline = time.monotonic() + 90
    while (found := any_collections.search(name, asked, 1, effort=ITEMS)[0]).scores[0] < 8.9:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert (found.ids.tolist(), any_collections.count(name)) == ([5], ITEMS)


def test_what_is_no_weight_is_refused_by_name() -> None:
    for wrong in ("much", True, 0, -1.5, 1e39, float("nan")):
        with pytest.raises(RequestError, match="value"):
            upserted(SPEC, {"item_id": 5, "value": wrong}, "item 1")
    table = pa.table({"item_id": [3, 4], "year": [1.0, 1.0], "value": [1.0, -2.0]})
    with pytest.raises(DataError, match="item 4, column 'value'"):
        vectors_batch(SPEC, table, np.eye(2, DIM, dtype=np.float32))


def test_a_declaration_that_makes_no_sense_is_refused() -> None:
    for wrong in (
        {"rules": {"penalty": 0.1}},
        {"rules": {"weight": "item_id"}},
        {"rules": {"weight": "lang"}, "features": [{"kind": "categorical", "name": "lang", "tower": "item"}]},
    ):
        with pytest.raises((ConfigError, ValueError), match="rules"):
            FeatureSpec.model_validate(wrong)


def test_without_rules_nothing_changes() -> None:
    spec = SPEC.model_copy(update={"rules": None})
    table, vectors = pa.table({"item_id": [1], "year": [1.0]}), np.eye(1, DIM, dtype=np.float32)
    batch = vectors_batch(spec, table, vectors)
    assert stored_batch(spec, batch) is batch
    assert batch.schema.names == ["item_id", "vector", "year"]
