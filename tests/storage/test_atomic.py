"""Folders that are built aside: whole or not at all, whoever else is building."""

from __future__ import annotations

import errno
import fcntl
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pagoda.errors import ConflictError
from pagoda.storage.atomic import build_folder


def test_of_two_that_build_one_folder_at_once_the_first_to_end_has_it(tmp_path: Path) -> None:
    path = tmp_path / "version"
    with pytest.raises(ConflictError), build_folder(path) as slow:
        (slow / "file").write_text("slow")
        with build_folder(path) as fast:
            (fast / "file").write_text("fast")
        assert (slow / "file").read_text() == "slow"
    assert [one.name for one in tmp_path.iterdir()] == ["version"]
    assert (path / "file").read_text() == "fast"


def test_what_a_killed_build_left_is_removed_by_the_next(tmp_path: Path) -> None:
    program = (
        "import os, signal, sys; from pathlib import Path; from pagoda.storage.atomic import build_folder\n"
        "with build_folder(Path(sys.argv[1])) as aside: os.kill(os.getpid(), signal.SIGKILL)"
    )
    path = tmp_path / "version"
    killed = subprocess.run([sys.executable, "-c", program, str(path)], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert [one.name.startswith(".version.") for one in tmp_path.iterdir()] == [True]
    with build_folder(path):
        pass
    assert [one.name for one in tmp_path.iterdir()] == ["version"]


def test_a_file_system_without_locks_of_folders_will_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EBADF, "as NFS says of a folder")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with build_folder(tmp_path / "version") as aside:
        (aside / "file").write_text("whole")
    assert [one.name for one in tmp_path.iterdir()] == ["version"]
