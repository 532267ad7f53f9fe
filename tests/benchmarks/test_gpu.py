"""The benchmark for CUDA devices, which none of the tests has: all that a CPU can run of it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.gpu.__main__ import bytes_of_a_sample, main
from benchmarks.gpu.batches import DeviceBatches
from benchmarks.gpu.pagoda_step import plain
from pagoda.training.tables import OOV

CPU = torch.device("cpu")


def test_a_dry_run_measures_what_runs_without_a_device(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sizes = ["--rows", "500", "--items", "90", "--dims", "8", "--batch", "64", "--seconds", "0.05"]
    monkeypatch.setattr(sys, "argv", ["gpu", "--device", "cpu", *sizes, "--out", str(tmp_path / "gpu.json")])
    main()
    made = json.loads((tmp_path / "gpu.json").read_text())
    ours, peer = made["found"]
    assert (ours["engine"], ours["dim"], ours["rows"]) == ("pagoda", 8, 500)
    share = ours["samples_per_second"] * bytes_of_a_sample(8) / made["bytes_per_second"]
    assert ours["bandwidth_share"] == pytest.approx(share)
    assert "samples_per_second" in peer or "No module" in peer["left_out"]
    assert capsys.readouterr().out.count("\n") == 3


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a device")
def test_without_a_device_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["gpu"])
    with pytest.raises(SystemExit, match="no CUDA device"):
        main()


def test_nothing_is_begun_after_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "gpu.json"
    monkeypatch.setattr(sys, "argv", ["gpu", "--device", "cpu", "--limit", "-1", "--rows", "9", "--out", str(out)])
    main()
    assert {row["left_out"] for row in json.loads(out.read_text())["found"]} == {"no time was left"}


def test_all_batches_have_one_shape_and_name_each_row_once() -> None:
    for batch, _ in zip(DeviceBatches(50, 20, 64, CPU), range(5), strict=False):
        user_rows, user_of, item_rows, item_of = batch.numpy()
        for places, of, rows in ((user_rows, user_of, 50), (item_rows, item_of, 20)):
            there = places[places != OOV]
            assert len(np.unique(there)) == len(there)
            assert set(of) == set(range(len(there)))
            assert there.max() <= rows
        assert batch.shape == (4, 64)


def test_a_step_learns() -> None:
    step, batch = plain(50, 20, 8, CPU), next(iter(DeviceBatches(50, 20, 64, CPU)))
    losses = [float(step(batch)) for _ in range(20)]
    assert losses[-1] < losses[0]
