"""The quality benchmark goes from any file of sequences to figures, by one rule for all."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.quality.__main__ import main
from benchmarks.quality.settings import TOWERS, Sizes, settings


def test_it_writes_the_figures_of_a_file_under_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    source, out = tmp_path / "toy.v1.txt", tmp_path / "bench" / "quality.json"
    lines = [[user, *rng.permutation(40)[: rng.integers(4, 9)]] for user in range(60)]
    source.write_text("\n".join(" ".join(map(str, line)) for line in lines))
    out.parent.mkdir()
    out.write_text('{"other": {"sequence": {"hr@10": 0.5}}}')
    monkeypatch.setattr("sys.argv", ["quality", str(source), "--towers", "mean", "--out", str(out)])
    main()
    found = json.loads(out.read_text())
    assert found["other"]["sequence"]["hr@10"] == 0.5
    mean = found["toy.v1"]["mean"]
    for metric in ("hr@10", "ndcg@10", "recall@20", "ndcg@20"):
        assert 0 <= mean[f"{metric}_low"] <= mean[metric] <= mean[f"{metric}_high"] <= 1
    assert mean["users"] + mean["repeats"] == 60
    assert mean["seconds"] > 0


def test_a_file_of_something_else_is_one_clear_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("user,item\n1,2\n")
    monkeypatch.setattr("sys.argv", ["quality", str(tmp_path / "file"), "--out", str(tmp_path / "quality.json")])
    with pytest.raises(SystemExit, match="line 1: expected integers"):
        main()
    assert not (tmp_path / "quality.json").exists()


@pytest.mark.parametrize("tower", TOWERS)
def test_settings_follow_from_sizes(tower: str) -> None:
    sizes = [Sizes(22_000, 12_000, 154_000), Sizes(30_000, 41_000, 800_000), Sizes(6_000, 3_400, 1_000_000)]
    chosen = [settings("mean" if tower == "mean" else "sequence", each) for each in sizes]
    assert chosen[0].bootstrap_epochs > chosen[1].bootstrap_epochs > chosen[2].bootstrap_epochs > 1
    assert {each.model.history.kind for each in chosen} == {"mean" if tower == "mean" else "transformer"}
