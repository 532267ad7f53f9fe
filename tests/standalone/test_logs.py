from __future__ import annotations

from pathlib import Path

from pagoda.standalone.logs import follow, last_lines, size_of


def test_the_last_lines_of_a_log(tmp_path: Path) -> None:
    log = tmp_path / "x.log"
    assert last_lines(log) == "(there is no log)"
    log.write_bytes(b"\xff\n" + b"\n".join(b"line %d" % i for i in range(100_000)))
    assert last_lines(log, 2) == "line 99998\nline 99999"


def test_a_followed_log_is_read_on_through_rotation(tmp_path: Path) -> None:
    log = tmp_path / "x.log"
    log.write_text("old\n")
    lines = follow(log, size_of(log))
    with log.open("a") as file:
        file.write("new\n")
    assert next(lines) == "new\n"
    log.rename(tmp_path / "x.log.1")
    log.write_text("fresh\n")
    assert next(lines) == "fresh\n"
