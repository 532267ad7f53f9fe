"""What a person reads when a command of `pagoda` fails."""

from __future__ import annotations

import errno

import pytest

from pagoda.cli import main as cli


def _raising(error: Exception) -> object:
    def app() -> None:
        raise error

    return app


@pytest.mark.parametrize("filename", [None, "/full/[disk]/users.parquet"])
def test_a_full_disk_is_a_message_and_no_traceback(
    filename: str | None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cli, "app", _raising(OSError(errno.ENOSPC, "Error writing bytes to file", filename)))
    with pytest.raises(SystemExit) as ended:
        cli.main()
    told = capsys.readouterr().err
    assert ended.value.code == 1
    assert "OSError: No space left on device" in told and "make room or choose another folder" in told
    assert (filename or "") in told


def test_other_trouble_with_files_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli, "app", _raising(FileNotFoundError(errno.ENOENT, "No such file", "state.json")))
    with pytest.raises(FileNotFoundError):
        cli.main()
