"""bench-index goes on where it was killed, and past what does not end."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.index import __main__ as subject
from benchmarks.index import world
from benchmarks.index.world import IndexedWorld, make


def test_a_world_that_was_half_written_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def die(path: Path, array: np.ndarray) -> None:
        save(path, array)
        if path.name == "truth.npy":
            path.write_bytes(path.read_bytes()[:200])
            raise KeyboardInterrupt

    save = np.save
    monkeypatch.setattr(np, "save", die)
    with pytest.raises(KeyboardInterrupt):
        make(tmp_path / "world", world.FEWEST)
    monkeypatch.undo()
    make(tmp_path / "world", world.FEWEST)
    assert IndexedWorld.open(tmp_path / "world").truth.shape == (len(world.SHARES), world.CHECKED, world.K)


def test_what_does_not_end_is_said_and_the_others_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def hang(command: list[str], **options: Any) -> None:
        raise subprocess.TimeoutExpired(command, options["timeout"])

    monkeypatch.setattr(subprocess, "run", hang)
    subject._measure("faiss", tmp_path, tmp_path / "faiss.json")
    assert "faiss fails" in capsys.readouterr().out
    assert not list(tmp_path.iterdir())
