"""Each technique is one line of the configuration: it learns, and what contradicts itself is refused at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch

from pagoda.config.objective import ObjectiveConfig
from pagoda.config.training import DropoutConfig, TrainConfig
from pagoda.data.dataset import Dataset
from pagoda.errors import ConfigError
from pagoda.training.batches.batcher import Batch
from pagoda.training.full import preparation
from pagoda.training.full.preparation import prepare
from pagoda.training.full.update import full_update

from .worlds import IDS_ALONE, config, hours, make

NOTHING = DropoutConfig(user=0, item=0, profile=0, history=0)
MODEL = {"dim": 8, "feature_dim": 4}
OBJECTIVES = [get_args(one)[0]() for one in get_args(get_args(ObjectiveConfig)[0])]
TECHNIQUES: dict[str, dict[str, Any]] = {
    **{objective.kind: {"objective": {"kind": objective.kind}} for objective in OBJECTIVES},
    "binary cross-entropy": {"objective": {"kind": "pointwise", "loss": "bce"}},
    "calibrated cross-entropy": {
        "objective": {"kind": "pointwise", "loss": "bce", "negatives": 10, "calibration": 0.75},
        "negatives": {"in_batch": False, "uniform": 20},
    },
    "inner products": {
        "model": MODEL | {"similarity": "dot"},
        "objective": {"temperature": 1},
        "self_supervision": {"items": 20},
    },
    "mixed sampling": {"negatives": {"uniform": 10}},
    "no correction": {"negatives": {"correction": "none"}},
    "a streaming correction": {"negatives": {"correction": "streaming", "popularity": 5}},
    "a queue": {"negatives": {"queue": 2, "queue_warm_up": 3}},
    "self-supervision": {"self_supervision": {"items": 20}},
    "thinning and repeating": {"positives": {"thin_above": 0.03, "repeat_below": 0.02}},
    "example age": {"model": MODEL | {"user": {"example_age": True}}},
    "parallel towers": {
        "model": MODEL | {"branches": [{"kind": kind} for kind in ("rows", "mlp", "fm", "cin")]},
    },
    "augmented vectors": {
        "model": MODEL | {"augment": {"align": 1.0, "category": "tags"}},
        "self_supervision": {"items": 10},
    },
    "interests by attention": {"model": MODEL | {"history": {"kind": "self_attentive", "interests": 3, "hidden": 8}}},
    "interests by routing": {"model": MODEL | {"history": {"kind": "routing", "interests": 2}, "seed_item": True}},
    "an ensemble with a member's own negatives and objective": {
        "ensemble": {
            "members": [
                {"name": "easy"},
                {"name": "hard", "dim": 4, "negatives": {"uniform": 5}, "objective": {"kind": "triplet_hinge"}},
            ]
        }
    },
    "an ensemble along sequences": {
        "learn": "sequences",
        "negatives": {},
        "ensemble": {
            "members": [
                {"name": "all", "negatives": {"catalogue": True}},
                {"name": "few", "history": {"kind": "gru"}, "negatives": {"in_batch": False, "uniform": 5}},
            ]
        },
    },
    "no user rows": {"model": MODEL | {"user": {"id_row": False}}},
    "along sequences": {
        "learn": "sequences",
        "negatives": {"in_batch": False, "uniform": 10},
        "self_supervision": {"items": 10, "views": "complementary"},
        "positives": {"repeat_below": 0.02},
        "model": MODEL | {"user": {"example_age": True}},
    },
    "parallel towers with augmented vectors along sequences": {
        "learn": "sequences",
        "negatives": {"in_batch": False, "uniform": 10},
        "model": MODEL | {"branches": [{"kind": "rows"}, {"kind": "cross"}], "augment": {}, "history": {"kind": "gru"}},
    },
    "all at once": {
        "negatives": {"uniform": 5, "queue": 2, "queue_warm_up": 2, "correction": "streaming"},
        "self_supervision": {"items": 10, "views": "mask"},
        "positives": {"repeat_below": 0.02},
        "model": MODEL | {"user": {"example_age": True}},
    },
}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return make(tmp_path_factory.mktemp("techniques") / "data", clicks_an_hour=15)


def batches(dataset: Dataset, how: TrainConfig, epochs: int = 1) -> list[list[Batch]]:
    """Of each epoch."""
    prepared = prepare(dataset, hours(0, 40), None, how)
    batcher = prepared.batcher(NOTHING, 0)
    blocks = list(prepared.stream.blocks(final=True))
    return [[batch for block in blocks for batch in batcher.batches(block, 64, epoch)] for epoch in range(epochs)]


@pytest.mark.parametrize("name", TECHNIQUES)
def test_every_technique_learns(dataset: Dataset, name: str) -> None:
    how = config(**TECHNIQUES[name])
    prepared = prepare(dataset, hours(0, 40), None, how)
    batcher, losses = prepared.batcher(NOTHING, 0), []
    for epoch in range(4):
        blocks = prepared.stream.blocks(final=epoch == 3)
        of_epoch = (batch for block in blocks for batch in batcher.batches(block, 64, epoch))
        losses.append(np.mean([prepared.learner.learn(batch) for batch in of_epoch]))
    # Until a queue is full, the loss is over fewer candidates.
    assert losses[-1] < losses[1]


def test_positives_are_thinned_and_repeated_and_q_follows(dataset: Dataset) -> None:
    how = config(positives={"thin_above": 0.02, "repeat_below": 0.02}, negatives={"uniform": 0})
    prepared = prepare(dataset, hours(0, 40), None, how)
    clicks, times = prepared.survey.clicks, prepared.catalogue.times
    assert times is not None
    assert times.min() < 0.8
    assert times.max() > 1.5
    learned = np.zeros(len(clicks))
    for epoch in batches(dataset, how, 25):
        for batch in epoch:
            learned += np.bincount(batch.places[batch.targets].numpy(), minlength=len(clicks)) / 25
    often = clicks > 5
    np.testing.assert_allclose(learned[often], (clicks * times)[often], rtol=0.15)
    expected = (clicks * times).sum()
    shares, of_a_batch = (clicks * times)[often] / expected, expected / np.ceil(expected / 64)
    np.testing.assert_allclose(prepared.sources[0].log_q[often], np.log(1 - (1 - shares) ** of_a_batch), rtol=1e-4)


@pytest.mark.parametrize(("shuffle_rows", "parts"), [(1_000_000, 1), (1_000_000, 2), (200, 3)])
def test_q_is_of_as_many_draws_as_a_batch_has_positives(dataset: Dataset, shuffle_rows: int, parts: int) -> None:
    """Blocks are cut into equal batches: one positive too many for `parts` batches makes them smaller by far."""
    window = prepare(dataset, hours(0, 40), None, config()).survey.positives
    size = min(window, shuffle_rows) // parts - 1
    how = config(batch_size=size, shuffle_rows=shuffle_rows, negatives={"uniform": 0})
    prepared = prepare(dataset, hours(0, 40), None, how)
    batcher, whole = prepared.batcher(NOTHING, 0), next(iter(prepared.stream.blocks(final=True)))
    cut = [len(batch.targets) for batch in batcher.batches(whole, size)]
    clicks = prepared.survey.clicks[prepared.survey.clicks > 0]
    draws = prepared.sources[0].log_missed[prepared.survey.clicks > 0] / np.log1p(-clicks / clicks.sum())
    np.testing.assert_allclose(draws, np.mean(cut), rtol=0.01)
    assert np.mean(cut) < 0.8 * size


def test_age_counts_back_from_the_windows_end_and_is_never_hidden(dataset: Dataset) -> None:
    how = config(model=MODEL | {"user": {"example_age": True}})
    ages = torch.cat([batch.keys.features["example_age"] for batch in batches(dataset, how)[0]])
    assert ages.min() >= 0
    assert 1.5 < ages.max() <= 40 / 24
    assert "example_age" not in batches(dataset, config())[0][0].keys.features


def test_views_touch_rows_and_hide_ids(dataset: Dataset) -> None:
    batch = batches(dataset, config(self_supervision={"items": 30}))[0][0]
    assert batch.views is not None
    rows = batch.item_rows[batch.views.item_of]
    hidden = rows == 0
    assert 0.3 < hidden.float().mean() < 0.7
    # Items 35 to 39 have no row before hour 40.
    first, second = hidden.chunk(2)
    assert (first ^ second).sum() > 0.7 * len(first)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"negatives": {"in_batch": False, "uniform": 5, "queue": 2}}, "queue holds the items of batches"),
        ({"negatives": {"in_batch": False, "uniform": 5, "correction": "streaming"}}, "needs in_batch: true"),
        ({"negatives": {"queue_warm_up": 5}}, "queue_warm_up has no effect while queue is 0"),
        ({"objective": {"kind": "pointwise"}, "negatives": {"queue": 2}}, "negatives.queue is for the listwise"),
        (
            {"objective": {"kind": "triplet_hinge"}, "negatives": {"correction": "none"}},
            "negatives.correction is for the listwise objective; triplet_hinge takes single negatives",
        ),
        (
            {"objective": {"kind": "pointwise", "negatives": 3}, "negatives": {"mined": 3, "rejected": 1}},
            "is 4, more than objective.negatives 3",
        ),
        ({"objective": {"kind": "pointwise", "scale": 5}}, "scale has no effect while loss is squares; it is for bce"),
        ({"objective": {"kind": "pointwise", "calibration": 1}}, "calibration has no effect while loss is squares"),
        (
            {"objective": {"kind": "pointwise", "loss": "bce", "calibration": 1}},
            "drawn evenly from the whole catalogue, which those of negatives.in_batch are not",
        ),
        ({"positives": {"thin_above": 0.1, "repeat_below": 0.2}}, "would be thinned and repeated"),
        (
            {"objective": {"kind": "pointwise"}, "model": MODEL | {"similarity": "dot"}},
            "objective.loss: squares draws cosines to 1 and -1, and with model.similarity: dot there are none",
        ),
        ({"self_supervision": {"weight": 0}}, "self_supervision.weight"),
        ({"model": {"user": {"blocks": [], "example_age": True}}}, "example_age is read by blocks"),
        ({"model": {"augment": {"align": 1.0}}}, "align needs category"),
        ({"model": {"augment": {"category": "tags"}}}, "category has no effect while align is 0"),
        (
            {"model": {"augment": {}, "history": {"kind": "routing"}}},
            "augment is for users of one vector, and model.history gives 4",
        ),
        (
            {"model": {"history": {"kind": "routing"}}, "negatives": {"bad": 2}},
            "negatives.bad is for users of one vector, and model.history gives 4",
        ),
        ({"model": {"augment": {}, "similarity": "dot"}}, "augment is for cosines, and model.similarity is dot"),
        (
            {"model": {"augment": {}, "user": {"id_row": False}}},
            "model.augment is beside ID rows, and model.user.id_row",
        ),
    ],
)
def test_contradictions_are_refused(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says.replace(".", r"\.")):
        config(**changes)


def test_what_the_data_lacks_is_refused_before_any_work(tmp_path: Path) -> None:
    dataset = make(tmp_path / "data", IDS_ALONE)
    with pytest.raises(ConfigError, match="self_supervision needs features of items"):
        prepare(dataset, hours(0, 40), None, config(self_supervision={}))
    many = {"kind": "pointwise", "loss": "bce", "negatives": 40, "calibration": 1}
    with pytest.raises(ConfigError, match=r"objective\.negatives is 40 and the catalogue has 40 items"):
        prepare(dataset, hours(0, 40), None, config(objective=many, negatives={"in_batch": False, "uniform": 20}))
    with pytest.raises(ConfigError, match="no event ranking_rejected"):
        prepare(dataset, hours(0, 40), None, config(negatives={"rejected": 3}))
    with pytest.raises(ConfigError, match=r"model\.item\.pooling is attention, but .* no multi or text feature"):
        prepare(dataset, hours(0, 40), None, config(model=MODEL | {"item": {"pooling": "attention"}}))
    augment = {"align": 1.0, "category": "tags"}
    with pytest.raises(ConfigError, match=r"model\.augment\.category is 'tags'.* these are: none"):
        prepare(dataset, hours(0, 40), None, config(model=MODEL | {"augment": augment}))
    with pytest.raises(ConfigError, match="a single input"):
        prepare(dataset, hours(0, 40), None, config(model=MODEL | {"branches": [{"kind": "rows"}, {"kind": "fm"}]}))


def test_the_filter_of_bsarec_has_no_more_frequencies_than_histories_tell_apart(dataset: Dataset) -> None:
    def prepared(frequencies: int) -> object:
        return prepare(
            dataset, hours(0, 40), None, config(model=MODEL | {"history": history | {"frequencies": frequencies}})
        )

    history = {"kind": "bsarec", "hidden": 8}
    assert prepared(3)
    with pytest.raises(ConfigError, match=r"frequencies is 4, but histories of 5 events have 3 to tell apart"):
        prepared(4)


@pytest.mark.parametrize(
    ("model", "says"),
    [
        ({"seed_item": True}, r"model\.seed_item is true"),
        ({"history": {"kind": "transformer"}}, r"model\.history is declared \(transformer\)"),
        ({"history": {"kind": "decay", "half_lives_seconds": [1]}}, r"model\.history is declared \(decay\)"),
        ({"user": {"id_row": False}}, r"model\.user\.id_row is false"),
    ],
)
def test_a_history_that_is_not_there_is_refused_before_the_window_is_read(
    model: dict[str, Any], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = make(tmp_path / "data", IDS_ALONE)
    monkeypatch.setattr(preparation, "survey", None)
    with pytest.raises(ConfigError, match=rf"{says}.*, but .*features\.yaml declares no history"):
        prepare(dataset, hours(0, 40), None, config(model=MODEL | model))


def test_a_child_begins_with_what_its_parent_knew_of_frequencies(dataset: Dataset, tmp_path: Path) -> None:
    how = config(negatives={"correction": "streaming", "queue": 2}, bootstrap_epochs=1)
    first = full_update(dataset, hours(0, 40), None, how, tmp_path / "first")
    maker = prepare(dataset, hours(40, 50), first, how).learner.members[0].candidates
    items = dataset.items()["item_id"].to_numpy()
    learned = prepare(dataset, hours(40, 50), first, how).survey.positives
    expected = 1 - (1 - first.counted_shares(items)) ** (learned / np.ceil(learned / 64))
    state = maker.state_dict()
    assert int(state["queue.waits"]) == 0
    known = 1 / state["frequencies.interval"].numpy()
    assert np.isin(np.round(expected[expected > 0], 6), np.round(known, 6)).all()
