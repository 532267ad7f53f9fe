"""Device and precision by configuration: what a machine lacks is refused, and bfloat16 towers learn as well."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from pagoda.config.device import DeviceName
from pagoda.errors import ConfigError
from pagoda.training.device import autocasts, choose_device, moved
from pagoda.training.full.update import full_update
from pagoda.version_files.open_version import OpenVersion

from .worlds import config, hours, make


@pytest.mark.parametrize(
    ("name", "there", "chosen"), [("auto", True, "cuda"), ("auto", False, "cpu"), ("cpu", True, "cpu")]
)
def test_an_accelerator_is_used_where_there_is_one(
    name: DeviceName, there: bool, chosen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: there)
    device = choose_device(name)
    assert device.type == chosen
    assert autocasts("auto", device) == (chosen == "cuda")
    assert autocasts("bfloat16", device)
    assert not autocasts("float32", device)


def test_a_device_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigError, match="device is cuda, but"):
        choose_device("cuda")


@dataclass(frozen=True)
class Inner:
    rows: Tensor
    name: str


@dataclass(frozen=True)
class Outer:
    rows: Tensor
    none: Tensor | None
    features: dict[str, Tensor]
    inner: Inner


def test_all_tensors_of_a_batch_move() -> None:
    rows = torch.zeros(3)
    given = Outer(rows, None, {"kind": rows}, Inner(rows, "one"))
    assert moved(given, torch.device("cpu")) is given
    there = moved(given, torch.device("meta"))
    assert [each.device.type for each in (there.rows, there.features["kind"], there.inner.rows)] == ["meta"] * 3
    assert (there.none, there.inner.name) == (None, "one")


def test_towers_learn_in_bfloat16(tmp_path: Path) -> None:
    dataset = make(tmp_path / "data")
    losses = [
        full_update(dataset, hours(0, 40), None, config(precision=precision), tmp_path / precision).metrics()["losses"]
        for precision in ("float32", "bfloat16")
    ]
    assert losses[0] != losses[1]
    assert losses[1] == pytest.approx(losses[0], rel=0.02)


EVERYTHING_KEPT = {
    "objective": {"learn_temperature": True},
    "negatives": {"uniform": 5, "queue": 2, "queue_warm_up": 2, "correction": "streaming"},
    "self_supervision": {"items": 10},
}
"""All that has tensors of its own beside the towers."""
ALONG = {
    "learn": "sequences",
    "negatives": {"in_batch": False, "uniform": 20},
    "model": {"dim": 8, "feature_dim": 4, "history": {"kind": "gru"}},
}

SETS = ALONG | {"learn": "sets", "model": {"dim": 8, "feature_dim": 4, "history": {"kind": "mean"}}}


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize(
    "changes", [{}, EVERYTHING_KEPT, ALONG, SETS], ids=["defaults", "everything kept", "along sequences", "sets"]
)
def test_an_accelerator_learns_what_a_processor_does(changes: dict[str, Any], tmp_path: Path) -> None:
    dataset = make(tmp_path / "data")
    on_cpu, on_cuda, in_bfloat16 = (
        full_update(dataset, hours(0, 40), None, config(**changes, device=device, precision=precision), tmp_path / name)
        for name, device, precision in (
            ("cpu", "cpu", "float32"),
            ("cuda", "cuda", "float32"),
            ("bfloat16", "cuda", "bfloat16"),
        )
    )
    assert on_cuda.metrics()["losses"] == pytest.approx(on_cpu.metrics()["losses"], rel=1e-3)
    assert in_bfloat16.metrics()["losses"] == pytest.approx(on_cpu.metrics()["losses"], rel=0.02)
    found, wanted = (OpenVersion(files, dataset).item_vectors() for files in (on_cuda, on_cpu))
    cosines = (found * wanted).sum(1)
    assert cosines.mean() > 0.999
    assert cosines.min() > 0.99
