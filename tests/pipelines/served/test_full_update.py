"""The main job on real servers: interactions to a served generation, day after day, whatever is killed on the way."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import mlflow
import numpy as np
import pytest

from pagoda.access.tokens import bearer, token_for
from pagoda.client import Client
from pagoda.data.history.histories import Histories
from pagoda.data.window import to_us
from pagoda.generations.state import ReleaseState
from pagoda.index.milvus.collections import MilvusCollections
from pagoda.item_vectors.vector_files import ItemVectors
from pagoda.model.table_inputs import histories_at
from pagoda.settings import Settings
from pagoda.version_files.full import FullVersionFiles
from pagoda.version_files.open_version import OpenVersion
from tests.waiting import wait_for

from .homes import Home, healthy, kill

pytestmark = pytest.mark.integration
STEPS = (
    "load-window",
    "train",
    "evaluate",
    "register",
    "export-vectors",
    "build-index",
    "package-tower",
    "publish",
)
SAMPLED = ("build-index",)
"""Steps killed in `make test`."""
SERVERS = (
    ("milvus", "build-index"),
    ("mlflow", "register"),
    ("milvus", "publish"),
    ("torchserve", "publish"),
    ("follower", "publish"),
    ("redis", "publish"),
    ("mlflow", "publish"),
)
"""Servers that are killed, and the step that is at work then; Redis serves those who ask meanwhile."""
K = 20


def test_serves_item_vectors_that_were_exported_in_parts(served: Home) -> None:
    manifest = served.state().generations["g1"]
    source = ItemVectors(Path(httpx.URL(manifest.item_vectors.uri).path), manifest.spec)
    assert len(source.files) == 2
    assert source.rows == manifest.item_count == served.dataset.items().num_rows


def test_registers_a_full_version_with_its_lineage(served: Home) -> None:
    registry = served.settings.registry
    registered = mlflow.MlflowClient(registry.uri).get_model_version(registry.model, "1")
    assert registered.tags["update"] == "full"
    assert served.state().versions[1].window.end == served.now
    assert served.state().versions[1].metrics["recall@50"] > 0
    assert "champion" in registered.aliases


@pytest.mark.parametrize("body", ["v1", "v2"])
def test_answers_are_those_computed_in_process(served: Home, body: str) -> None:
    users = [int(user) for user in served.dataset.users()["user_id"].to_pylist()[:2]]
    now = served.dataset.span().end
    answered = (ask_v1 if body == "v1" else ask_v2)(served.settings, users, to_us(now))
    for answer, expected in zip(answered, in_process(served, users, now), strict=True):
        ids, scores = zip(*answer, strict=True)
        best = sorted(expected.values(), reverse=True)[:K]
        np.testing.assert_allclose(scores, best, atol=1e-4)
        np.testing.assert_allclose([expected[item] for item in ids], scores, atol=1e-4)
    assert answered[0] != answered[1]


@pytest.mark.parametrize("step", SAMPLED)
def test_killed_in_a_step_and_run_again_ends_as_if_never_killed(served: Home, step: str) -> None:
    check_killed(served, step)


@pytest.mark.long
@pytest.mark.parametrize("step", STEPS)
def test_killed_in_any_step_and_run_again(served: Home, step: str) -> None:
    check_killed(served, step)


@pytest.mark.long
@pytest.mark.parametrize(("service", "step"), SERVERS)
def test_a_server_killed_in_a_step_and_run_again(served: Home, service: str, step: str) -> None:
    before, run = served.state(), served.next_run()
    process = run.reach(step)
    wait_for(lambda: AT_WORK[step](served, before))
    kill(served.platform, service)
    answered = {answers(served)}
    while process.poll() is None:
        answered.add(answers(served))
    output, _ = process.communicate()
    failed = process.returncode != 0
    assert not failed or re.search(r"PagodaError: pipeline full-update: pagoda\.errors\.\w+Error: ", output), output
    assert answered <= {before.stable, served.state().stable}
    wait_for(lambda: healthy(served.platform, service))
    check_ended(served, before, run.finish())
    wait_for(lambda: answers(served) == served.state().stable)


def registering(served: Home, before: ReleaseState) -> bool:
    """Whether MLflow has a run of the version that is being registered."""
    server = mlflow.MlflowClient(served.settings.registry.uri)
    experiment = server.get_experiment_by_name(served.settings.registry.model)
    assert experiment is not None
    return len(server.search_runs([experiment.experiment_id])) > len(before.versions)


AT_WORK: dict[str, Callable[[Home, ReleaseState], bool]] = {
    "register": registering,
    "build-index": lambda served, before: len(collections_of(served)) > len(before.generations),
    "publish": lambda served, before: len(served.state().generations) > len(before.generations),
}
"""Whether a step is in the midst of what it does with servers; once true, it stays so."""


def answers(served: Home) -> str:
    """The generation that answers a request."""
    with Client(home=served.settings.home) as client:
        return client.recommend(1, k=K).generation


def check_killed(served: Home, step: str) -> None:
    """Kill the next day's run in `step`: the old generation serves on, and the second run ends with one of each."""
    before, run = served.state(), served.next_run()
    run.kill_in(step)
    assert served.state().stable == before.stable
    assert answers(served) == before.stable
    check_ended(served, before, run.finish())


def check_ended(served: Home, before: ReleaseState, generation: str) -> None:
    """One more version, one more generation that serves, and one more collection with all of its rows."""
    after = served.state()
    assert (after.stable, after.previous) == (generation, before.stable)
    assert len(after.versions) == len(before.versions) + 1
    assert len(after.generations) == len(before.generations) + 1
    assert after.versions[after.champion or 0].parent == before.champion
    server = mlflow.MlflowClient(served.settings.registry.uri)
    assert [model.name for model in server.search_registered_models()] == [served.settings.registry.model]
    assert len(server.search_model_versions()) == len(after.versions)
    assert collections_of(served) == {manifest.collection for manifest in after.generations.values()}
    manifest = after.generations[generation]
    assert MilvusCollections(served.settings.milvus.uri).count(manifest.collection) == manifest.item_count


def collections_of(served: Home) -> set[str]:
    """The collections on the server."""
    return set(MilvusCollections(served.settings.milvus.uri).names())


def in_process(served: Home, users: list[int], now: datetime) -> list[dict[int, float]]:
    """The score of every item, from the registered version and the exported vectors, without any server."""
    state = served.state()
    record = state.versions[state.champion or 0]
    folder = Path(httpx.URL(record.uri).path)
    version = OpenVersion(FullVersionFiles(folder, folder), served.dataset)
    moments = np.full(len(users), to_us(now), np.int64)
    vectors = version.user_vectors(np.array(users), moments, histories(served, users, now), None)
    manifest = state.generation(state.stable or "")
    source = ItemVectors(Path(httpx.URL(manifest.item_vectors.uri).path), manifest.spec)
    scores: list[dict[int, float]] = [{} for _ in users]
    for ids, items in source.blocks():
        for user, found in zip(vectors, scores, strict=True):
            found.update(zip(ids.tolist(), (items @ user).tolist(), strict=True))
    return scores


def histories(served: Home, users: list[int], now: datetime) -> Histories:
    """What the users did before `now`."""
    state = histories_at(served.dataset, now, None, None)
    assert state is not None
    return state.read(np.array(users), np.full(len(users), to_us(now), np.int64))


def _post(settings: Settings, path: str, body: dict[str, Any]) -> Any:
    shown = bearer(token_for(settings, "ask"))
    return httpx.post(settings.recall.url + path, json=body, headers=shown).raise_for_status().json()


def ask_v1(settings: Settings, users: list[int], now_us: int) -> list[list[tuple[int, float]]]:
    """KServe v1 bodies."""
    body = {"instances": [{"user_id": user, "k": K, "timestamp": now_us} for user in users]}
    answer = _post(settings, "/v1/models/recall:predict", body)
    return [[(item["item_id"], item["score"]) for item in one["items"]] for one in answer["predictions"]]


def ask_v2(settings: Settings, users: list[int], now_us: int) -> list[list[tuple[int, float]]]:
    """KServe v2 bodies: flat tensors."""
    columns = {"user_id": users, "k": [K] * len(users), "timestamp": [now_us] * len(users)}
    inputs = [
        {"name": name, "datatype": "INT64", "shape": [len(users)], "data": data} for name, data in columns.items()
    ]
    answer = _post(settings, "/v2/models/recall/infer", {"inputs": inputs})
    outputs = {output["name"]: output["data"] for output in answer["outputs"]}
    pairs, starts = list(zip(outputs["item_id"], outputs["score"], strict=True)), np.cumsum([0, *outputs["count"]])
    return [pairs[start:end] for start, end in pairwise(starts)]
