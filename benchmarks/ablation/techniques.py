"""The rows of the ablation: each changes one thing of the first. All were written down before a result."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any, Literal

from benchmarks.ablation.features import DENSE, TEXT
from pagoda.data.spec import Feature

BASE: dict[str, Any] = {"bootstrap_epochs": 4, "checkpoint_seconds": None}
"""Everything else is as `pagoda train full` has it without a configuration."""
BASELINE = "defaults"
_SEQUENCES = {"learn": "sequences", "negatives": {"in_batch": False, "uniform": 512, "popularity": 512}}
"""Sequences have no in-batch negatives; the row that learns the default encoder along them shows what that does."""
_UNIFORM, _MINED = {"in_batch": False, "uniform": 1024}, {"mined": 2}


@dataclass(frozen=True)
class Technique:
    """One row."""

    group: str
    name: str
    change: dict[str, Any] = field(default_factory=dict)
    """Over `BASE`, as in a configuration file."""
    taught: Literal["truth", "own"] | None = None
    """Needs a teacher: the world's truth, or the one that `pagoda train teacher` trains, who scores what the version of
    the first row finds."""
    mined: bool = False
    """Needs what the version of the first row finds below what it shows."""
    relevance: bool = False
    """Needs the version of the first row to say what is irrelevant."""
    features: tuple[Feature, ...] = ()
    """Of items, beside those that the world declares."""
    penalty: float = 0.0
    """β of a search by cosine - β · log p with the version of the first row; nothing is trained."""

    @property
    def follows(self) -> bool:
        """Whether it needs the version of the first row."""
        return self.mined or self.relevance or self.penalty > 0 or self.taught == "own"


def _of(group: str, rows: dict[str, dict[str, Any]]) -> list[Technique]:
    return [Technique(group, name, change) for name, change in rows.items()]


def _ensemble(*negatives: dict[str, Any], **own: Any) -> dict[str, Any]:
    """Two models of half the length, by their negatives; those that name none have the file's."""
    named = zip(("first", "second"), negatives, strict=True)
    return {"members": [{"name": name, "dim": 32, **own, **({"negatives": by} if by else {})} for name, by in named]}


TECHNIQUES: tuple[Technique, ...] = (
    Technique("", BASELINE),
    *_of(
        "objective",
        {
            "pointwise": {"objective": {"kind": "pointwise"}},
            "pointwise, cross-entropy": {"objective": {"kind": "pointwise", "loss": "bce"}},
            "32 negatives, calibrated cross-entropy": {
                "objective": {"kind": "pointwise", "loss": "bce", "negatives": 32, "calibration": 0.75},
                "negatives": {"in_batch": False, "uniform": 512},
            },
            "triplet hinge": {"objective": {"kind": "triplet_hinge"}},
            "triplet hinge, margin 0.1": {"objective": {"kind": "triplet_hinge", "margin": 0.1}},
            "triplet hinge, margin 0.2": {"objective": {"kind": "triplet_hinge", "margin": 0.2}},
            "triplet hinge, margin 0.6": {"objective": {"kind": "triplet_hinge", "margin": 0.6}},
            "triplet logistic": {"objective": {"kind": "triplet_logistic"}},
            "temperature 0.05": {"objective": {"temperature": 0.05}},
            "temperature 0.2": {"objective": {"temperature": 0.2}},
            "temperature learned": {"objective": {"learn_temperature": True}},
            "inner products at temperature 1": {"model": {"similarity": "dot"}, "objective": {"temperature": 1.0}},
        },
    ),
    *_of(
        "logQ",
        {
            "off": {"negatives": {"correction": "none"}},
            "streaming": {"negatives": {"correction": "streaming"}},
        },
    ),
    *_of(
        "negatives",
        {
            "in-batch alone": {"negatives": {"uniform": 0}},
            "in-batch + 1024 uniform": {"negatives": {"uniform": 1024}},
            "in-batch + 1024 popular": {"negatives": {"uniform": 0, "popularity": 1024}},
            "1024 uniform alone": {"negatives": _UNIFORM},
            "512 uniform + 512 popular": {"negatives": {"in_batch": False, "uniform": 512, "popularity": 512}},
            "1024 popular alone": {"negatives": {"in_batch": False, "uniform": 0, "popularity": 1024}},
            "queue of 4 batches": {"negatives": {"queue": 4, "queue_warm_up": 100}},
            "2 hard, rejected by ranking": {"negatives": {"rejected": 2}},
        },
    ),
    Technique("negatives", "2 hard, mined at ranks 101-500", {"negatives": _MINED}, mined=True),
    Technique("negatives", "2 hard, one of each source", {"negatives": {"rejected": 1, "mined": 1}}, mined=True),
    Technique("negatives", "2 bad, irrelevant by the first row", {"negatives": {"bad": 2}}, relevance=True),
    *_of(
        "self-supervision",
        {f"{views} views": {"self_supervision": {"views": views}} for views in ("correlated", "complementary", "mask")},
    ),
    *_of(
        "popularity",
        {
            "head thinned above 0.1 %": {"positives": {"thin_above": 0.001}},
            "head thinned by clicks ^ -0.75": {"positives": {"thin_above": 0.001, "thin_exponent": 0.75}},
            "tail repeated below 0.03 %": {"positives": {"repeat_below": 0.0003}},
        },
    ),
    Technique("popularity", "penalty 0.01 at search time", penalty=0.01),
    Technique("popularity", "penalty 0.03 at search time", penalty=0.03),
    # Each has the numbers of one model of `dim` 64: what the members are alone is among the negatives above.
    Technique("ensemble", "2 models alike", {"ensemble": _ensemble({}, {}, weight=0.5)}),
    Technique("ensemble", "uniform and mined", {"ensemble": _ensemble(_UNIFORM, _MINED, weight=0.5)}, mined=True),
    Technique(
        "ensemble",
        "uniform finds 200, mined orders",
        {"ensemble": {**_ensemble(_UNIFORM, _MINED), "combine": "cascade", "candidates": 200}},
        mined=True,
    ),
    Technique("distillation", "from the truth, listwise", {"distillation": {}}, taught="truth"),
    Technique("distillation", "from the truth, margins", {"distillation": {"kind": "margin"}}, taught="truth"),
    Technique("distillation", "from our own teacher, listwise", {"distillation": {}}, taught="own"),
    Technique("distillation", "from our own teacher, margins", {"distillation": {"kind": "margin"}}, taught="own"),
    *_of(
        "history",
        {
            "mean": {"model": {"history": {"kind": "mean"}}},
            "one interest, self-attentive": {"model": {"history": {"kind": "self_attentive", "interests": 1}}},
            "4 interests, self-attentive": {"model": {"history": {"kind": "self_attentive"}}},
            "4 interests, routing": {"model": {"history": {"kind": "routing"}}},
            "seed item beside it": {"model": {"seed_item": True}},
            "along sequences": _SEQUENCES,
            "along sequences, mean": {**_SEQUENCES, "model": {"history": {"kind": "mean"}}},
            "along sequences, GRU": {**_SEQUENCES, "model": {"history": {"kind": "gru"}}},
            "along sequences, Transformer": {**_SEQUENCES, "model": {"history": {"kind": "transformer"}}},
        },
    ),
    Technique("features", "letter n-grams of a text", features=(TEXT,)),
    Technique("features", "dense vector", features=(DENSE,)),
    *_of(
        "towers, optimiser",
        {
            "no blocks": {"model": {"user": {"blocks": []}, "item": {"blocks": []}}},
            "SENet gate": {
                "model": {tower: {"blocks": [{"kind": "senet"}, {"kind": "mlp"}]} for tower in ("user", "item")}
            },
            "cross network": {
                "model": {tower: {"blocks": [{"kind": "cross"}, {"kind": "mlp"}]} for tower in ("user", "item")}
            },
            "rows and MLP in parallel": {"model": {"branches": [{"kind": kind} for kind in ("rows", "mlp")]}},
            "parallel towers": {"model": {"branches": [{"kind": kind} for kind in ("rows", "mlp", "cross", "fm")]}},
            "parallel towers, CIN": {"model": {"branches": [{"kind": kind} for kind in ("rows", "mlp", "fm", "cin")]}},
            "augmented vectors": {"model": {"augment": {}}},
            "augmented, categories aligned": {"model": {"augment": {"align": 1.0, "category": "category"}}},
            "no user row": {"model": {"user": {"id_row": False}}},
            "example age": {"model": {"user": {"example_age": True}}},
            "rows that forget": {"optimiser": {"table_memory": 0.99}},
            "cooldown": {"optimiser": {"cooldown": 0.5}},
            "nothing hidden": {"dropout": {"user": 0, "item": 0, "profile": 0, "history": 0}},
        },
    ),
)


def named(names: Collection[str]) -> list[Technique]:
    """The first row and those of these names.

    Raises:
        ValueError: There is no row of such a name.
    """
    if unknown := sorted(set(names) - {each.name for each in TECHNIQUES}):
        raise ValueError(f"no rows are called {unknown}; there are {[each.name for each in TECHNIQUES]}")
    return [each for each in TECHNIQUES if each.name in (BASELINE, *names)]
