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
    out.write_text('{"other": {"sequence": {"hr@10": 0.5}}, "toy.v1": {"sequence": {"hr@10": 0.4}, "mean": {}}}')
    monkeypatch.setattr("sys.argv", ["quality", str(source), "--towers", "mean", "--out", str(out)])
    main()
    found = json.loads(out.read_text())
    assert found["other"]["sequence"]["hr@10"] == 0.5
    assert found["toy.v1"]["sequence"]["hr@10"] == 0.4, "what another run found of the file stays"
    mean = found["toy.v1"]["mean"]
    for metric in ("hr@10", "ndcg@10", "recall@20", "ndcg@20"):
        assert 0 <= mean[f"{metric}_low"] <= mean[metric] <= mean[f"{metric}_high"] <= 1
    assert mean["users"] + mean["repeats"] == 60
    assert mean["seconds"] > 0


def test_seeds_join_those_that_are_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    source, out = tmp_path / "toy.txt", tmp_path / "quality.json"
    lines = [[user, *rng.permutation(40)[: rng.integers(4, 9)]] for user in range(60)]
    source.write_text("\n".join(" ".join(map(str, line)) for line in lines))
    arguments = ["quality", str(source), "--towers", "mean", "--out", str(out), "--seeds"]
    monkeypatch.setattr("sys.argv", [*arguments, "3"])
    main()
    first = json.loads(out.read_text())["toy"]["mean"]
    assert first["seeds"] == [3] and first["hr@10_seeds"] == [first["hr@10"]]
    (kept,) = tmp_path.rglob("*.npz")
    trained = kept.stat().st_mtime_ns
    monkeypatch.setattr("sys.argv", [*arguments, "1"])
    main()
    both = json.loads(out.read_text())["toy"]["mean"]
    assert both["seeds"] == [1, 3] and both["hr@10_seeds"][1] == first["hr@10"]
    assert both["hr@10"] == pytest.approx(np.mean(both["hr@10_seeds"]))
    assert both["hr@10_low"] <= both["hr@10"] <= both["hr@10_high"]
    assert both["validation"]["ndcg@10"] == pytest.approx(np.mean(both["validation"]["ndcg@10_seeds"]))
    assert kept.stat().st_mtime_ns == trained, "what was finished is not trained again"


def test_pairs_without_order_ask_for_all_that_is_held_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(0)
    kinds = [[user, *(2 * rng.permutation(20) + user % 2)] for user in range(60)]
    source, test, out = (tmp_path / name for name in ("pairs.txt", "rest.txt", "quality.json"))
    source.write_text("\n".join(" ".join(map(str, line[:13])) for line in kinds))
    # Half of what is to be found is learned already, so it is not asked; nor is user 999, of whom nothing is known.
    test.write_text("\n".join(" ".join(map(str, [line[0], *line[7:19]])) for line in kinds) + "\n999 1 2 3\n")
    arguments = ["quality", str(source), "--unordered", "--out", str(out)]
    monkeypatch.setattr("sys.argv", [*arguments, "--test", str(test)])
    main()
    found = json.loads(out.read_text())["pairs"]["mean"]
    assert found["users"] == 60 and found["learned"]["positives"] == 60 * 12
    assert found["recall@20"] > 0.9, "each user's kind has eight items more, six of them asked"
    assert "pairs without order, 60 users" in capsys.readouterr().out
    monkeypatch.setattr("sys.argv", arguments)
    main()
    held_out = json.loads(out.read_text())["pairs"]["mean"]
    assert held_out["learned"]["positives"] == 60 * 11 and held_out["validation"]["users"] == 60
    assert "recall@20" not in held_out
    monkeypatch.setattr("sys.argv", [*arguments, "--towers", "sequence"])
    with pytest.raises(SystemExit, match="reads the order of a history"):
        main()


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
    assert {member.model.history.kind for each in chosen for member in each.members} == {
        "mean" if tower == "mean" else "bsarec"
    }
    # All items are compared where those are few enough.
    assert [each.negatives.catalogue for each in chosen] == [tower == "sequence", False, tower == "sequence"]
