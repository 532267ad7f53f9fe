"""The user tower in process: each request is answered by exactly the generation it names."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pagoda.embeddings.tables import TablesWriter
from pagoda.errors import NotHeldError, PagodaError, RequestError
from serving.tower.archive import PROGRAM
from serving.tower.bodies import Instance, TowerAnswer, TowerRequest
from serving.tower.inputs import InputReader
from serving.tower.runtime import TowerRuntime
from tests.serving.worlds import DIM, ITEMS, LENGTH, NOW_US, USERS, World, add_generation, ids_of, make_world

SECOND_US = 1_000_000
events = st.tuples(st.integers(0, ITEMS + 5), st.integers(-1000, 1000))
instances = st.builds(
    lambda user, age, device, history: Instance(
        user_id=user,
        timestamp=NOW_US,
        profile={} if age is None else {"age": age, "gender": "F"},
        context={} if device is None else {"device": device},
        history=tuple({"item_id": item, "timestamp": NOW_US + at * SECOND_US} for item, at in history),
    ),
    st.integers(0, USERS + 5),
    st.none() | st.integers(0, 90),
    st.none() | st.sampled_from(["phone", "tv"]),
    st.lists(events, max_size=2 * LENGTH),
)


@lru_cache
def program_of(folder: Path) -> Callable[..., torch.Tensor]:
    """The exported tower."""
    return torch.export.load(folder / PROGRAM).module()


def expected(world: World, generation: str, instance: Instance) -> np.ndarray:
    """The vector, computed the slow and obvious way."""
    tables = world.open_tables().generation(generation)
    past = instance.history.rows()
    earlier = sorted((e["timestamp"], n) for n, e in enumerate(past) if e["timestamp"] < NOW_US)[-LENGTH:]
    rows, mask, age = np.zeros((1, LENGTH, DIM), np.float32), np.zeros((1, LENGTH), bool), np.zeros((1, LENGTH))
    for place, (timestamp, number) in enumerate(reversed(earlier), 1):
        item = past[number]["item_id"]
        rows[0, -place] = tables.items.lookup(ids_of([item]))[0][0]
        mask[0, -place] = True
        age[0, -place] = (NOW_US - timestamp) / SECOND_US
    raw = {**instance.profile, **instance.context}
    features = world.encoder.encode_rows("user", [raw], np.array([NOW_US]))
    vector = program_of(world.folder)(
        torch.from_numpy(tables.users.lookup(ids_of([instance.user_id]))[0]),
        torch.from_numpy(rows),
        torch.from_numpy(mask),
        torch.from_numpy(age.astype(np.float32)),
        {name: torch.from_numpy(values) for name, values in features.items()},
    )
    return vector[0].detach().numpy()


@settings(max_examples=40)
@given(st.lists(st.tuples(st.lists(instances, min_size=1, max_size=3), st.sampled_from(["g3", "g3.5", None, "g9"]))))
def test_a_batch_answers_each_request_as_alone(
    world: World, runtime: TowerRuntime, asked: list[tuple[list[Instance], str | None]]
) -> None:
    answers = runtime.predict_batch([TowerRequest(*one) for one in asked])
    assert len(answers) == len(asked)
    for (group, generation), answer in zip(asked, answers, strict=True):
        if generation == "g9":
            assert isinstance(answer, NotHeldError)
            continue
        assert isinstance(answer, TowerAnswer)
        assert answer.generation == (generation or "g3")
        assert answer.known.tolist() == [instance.user_id < USERS for instance in group]
        for instance, vector in zip(group, answer.vectors, strict=True):
            np.testing.assert_allclose(vector, expected(world, answer.generation, instance), atol=1e-5)


def test_an_incremental_generation_changes_only_the_rows_it_learned(runtime: TowerRuntime) -> None:
    users = [Instance(user_id=number, timestamp=NOW_US) for number in range(USERS)]
    before, after = runtime.predict(users, "g3").vectors, runtime.predict(users, "g3.5").vectors
    assert np.flatnonzero((before != after).any(axis=1)).tolist() == [1, 2]


def test_vectors_have_unit_length(runtime: TowerRuntime) -> None:
    answer = runtime.predict([Instance(user_id=number) for number in range(50)])
    np.testing.assert_allclose(np.linalg.norm(answer.vectors, axis=1), 1, atol=1e-5)
    assert answer.vectors.dtype == np.float32


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"user_id": "five"}, "user_id: must be an integer"),
        ({"user_id": 1, "profile": {"agee": 5}}, "profile.agee: unknown field"),
        ({"user_id": 1, "profile": {"age": "old"}}, "feature 'age'"),
        ({"user_id": 1, "context": {"age": 5}}, "context.age: unknown field"),
        ({"user_id": 1, "history": [{"item_id": "x", "timestamp": 5}]}, "history.item_id: must be an integer"),
    ],
)
def test_a_wrong_value_is_named_and_spoils_no_other_answer(
    runtime: TowerRuntime, fields: dict[str, Any], message: str
) -> None:
    bad, good = TowerRequest([Instance(**fields)]), TowerRequest([Instance(user_id=4)])
    first, second, third = runtime.predict_batch([good, bad, good])
    assert isinstance(second, RequestError)
    assert message in str(second)
    assert isinstance(first, TowerAnswer)
    assert isinstance(third, TowerAnswer)


def test_string_ids_are_hashed_as_in_training(world: World, tmp_path: Path) -> None:
    strings = make_world(tmp_path / "version", tmp_path / "tables", id_type="string")
    runtime = TowerRuntime.load(strings.folder, strings.open_tables())
    history = ({"item_id": "item-3", "timestamp": NOW_US - SECOND_US},)
    asked = Instance(user_id="user-7", timestamp=NOW_US, history=history)
    answer = runtime.predict([asked])
    assert answer.known.tolist() == [True]
    np.testing.assert_allclose(answer.vectors[0], expected(strings, "g3", asked), atol=1e-5)
    with pytest.raises(RequestError, match="user_id: must be a string"):
        runtime.predict([Instance(user_id=7)])


def test_a_generation_is_held_from_publishing_to_retirement(tmp_path: Path) -> None:
    made = make_world(tmp_path / "version", tmp_path / "tables")
    runtime = TowerRuntime.load(made.folder, made.open_tables())
    asked = [Instance(user_id=1, timestamp=NOW_US)]
    with pytest.raises(NotHeldError):
        runtime.predict(asked, "g3.5")
    old = runtime.predict(asked)
    add_generation(made, 5, [1])
    assert runtime.predict(asked, "g3.5").generation == "g3.5"
    assert runtime.predict(asked).generation == "g3"
    TablesWriter(made.tables).set_current("g3.5")
    assert runtime.predict(asked).generation == "g3.5"
    np.testing.assert_array_equal(runtime.predict(asked, "g3").vectors, old.vectors)
    TablesWriter(made.tables).retire("g3")
    with pytest.raises(NotHeldError):
        runtime.predict(asked, "g3")


@pytest.mark.parametrize("name", ["../g3", "", ".hidden", "a/b"])
def test_a_generation_name_never_leaves_the_folder(runtime: TowerRuntime, name: str) -> None:
    with pytest.raises(PagodaError):
        runtime.predict([Instance(user_id=1)], name)


def test_what_lies_in_the_future_of_a_request_is_not_in_its_history(world: World) -> None:
    past = {"item_id": 1, "timestamp": NOW_US - SECOND_US}
    now, later = {"item_id": 2, "timestamp": NOW_US}, {"item_id": 3, "timestamp": NOW_US + SECOND_US}
    inputs = InputReader(world.encoder).read([Instance(user_id=1, history=(later, now, past))], NOW_US)
    assert inputs.history_items[0].tolist() == [0] * (LENGTH - 1) + [1]
    assert inputs.history_age[0, -1] == 1
