"""Text and dense vectors go all the way: from a dataset's columns through training to the exported programs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from pagoda.data.spec import Dense, FeatureSpec, History, Text
from pagoda.training.full.update import full_update
from pagoda.version_files.open_version import OpenVersion

from .worlds import config, hours, make

SPEC = FeatureSpec(
    history=History(length=5),
    features=(Text(name="name", tower="item", buckets=200, max_values=20), Dense(name="look", tower="item", length=4)),
)


def test_text_and_dense_vectors_go_all_the_way(tmp_path: Path) -> None:
    dataset = make(tmp_path / "data", SPEC)
    how = config(self_supervision={"items": 20}, bootstrap_epochs=2)
    files = full_update(dataset, hours(0, 40), None, how, tmp_path / "out")
    items = dataset.items()
    raw = items.select(["name", "look"]).to_pylist()
    program = torch.export.load(files.folder / "item_tower.pt2").module()
    rows, _ = files.items.lookup(items["item_id"].to_numpy())
    features = {name: torch.from_numpy(array) for name, array in files.encoder.encode_rows("item", raw).items()}
    expected = program(torch.from_numpy(rows), features).detach().numpy()
    vectors = OpenVersion(files, dataset).item_vectors()
    np.testing.assert_allclose(vectors, expected, atol=1e-6)
    # Items from 35 on were never clicked: what they are said to be tells their kind.
    kinds, new = np.arange(40) % 4, np.arange(35, 40)
    centres = np.stack([vectors[:35][kinds[:35] == kind].mean(0) for kind in range(4)])
    assert ((vectors[new] @ centres.T).argmax(1) == kinds[new]).mean() >= 0.8
