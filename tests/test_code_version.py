"""What a version's lineage says of the code that made it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pagoda
from pagoda.code_version import checksum_source, code_version

HERE = Path(pagoda.__path__[0])


def test_it_is_the_release_and_the_source() -> None:
    release, _, source = code_version().partition("+")
    assert release == "0.1.0"
    assert source == checksum_source(HERE)


def test_another_source_is_another_version(tmp_path: Path) -> None:
    copied = tmp_path / "pagoda"
    shutil.copytree(HERE, copied)
    assert checksum_source(copied) == checksum_source(HERE)

    seen = {checksum_source(HERE)}
    loop = copied / "training" / "full" / "loop.py"
    loop.write_text(loop.read_text() + "\n")
    seen.add(checksum_source(copied))
    loop.rename(loop.with_name("loops.py"))
    seen.add(checksum_source(copied))
    (copied / "further.py").touch()
    seen.add(checksum_source(copied))
    assert len(seen) == 4


def test_what_is_no_source_does_not_count(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("a = 1")
    before = checksum_source(tmp_path)
    (tmp_path / "__pycache__").mkdir()
    (tmp_path / "__pycache__" / "a.cpython-311.pyc").write_bytes(b"0")
    (tmp_path / "notes.md").write_text("a")
    assert checksum_source(tmp_path) == before
