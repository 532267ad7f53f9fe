"""The document of `make bench-training`, and the data that all its trainers learn."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks.training.__main__ import assemble, tables
from benchmarks.training.data import ITEMS, USERS, write_dataset, write_pairs
from pagoda.data.dataset import Dataset


def test_the_faster_of_each_library_is_the_peer() -> None:
    speeds = {"pagoda": 90, "rechub": 7, "rechub 20": 10, "torchrec": 30, "torchrec sharded": 45}
    runs = {
        name: [
            {"samples_per_second": speed + noise, "peak_rss_bytes": 1e9, "rows": 10 * speed, "optimiser": f"of {name}"}
            for noise in (0, -5, 5)
        ]
        for name, speed in speeds.items()
    }
    document = assemble(
        runs, {"900": runs["pagoda"]}, {"1": runs["rechub"], "2": runs["rechub 20"], "2 alone": runs["torchrec"]}
    )
    assert document["pagoda"]["samples_per_second"] == 90
    assert (document["peer"]["samples_per_second"], document["ratio"]) == (10, 9)
    assert (document["torchrec"]["name"], document["ratio_torchrec"]) == ("TorchRec, 2 processes", 2)
    (row,) = document["scaling"]
    assert (row["rows"], row["samples_per_second"], row["peak_rss_bytes"]) == (900, 90, 1e9)
    assert (document["peer"]["rows"], document["peer"]["optimiser"]) == (100, "of rechub 20")
    assert [table.row_count for table in tables(document)] == [5, 1, 2]
    rows = [(row["processes"], row["samples_per_second"], row["alone_at_once"]) for row in document["distributed"]]
    assert rows == [(1, 7, 7), (2, 10, 30)]


def test_all_trainers_learn_the_same_pairs(tmp_path: Path) -> None:
    write_dataset(tmp_path / "data", 5000)
    write_pairs(tmp_path / "pairs.npy", 5000)
    batches = list(Dataset.open(tmp_path / "data").batches())
    found = np.concatenate([[batch["user_id"].to_numpy(), batch["item_id"].to_numpy()] for batch in batches], axis=1)
    np.testing.assert_array_equal(found, np.load(tmp_path / "pairs.npy"))
    assert found.min() >= 0
    assert (found.max(1) < (USERS, ITEMS)).all()
