"""What processes of one machine trust: a folder of this user alone, and what each leaves there when it fails."""

from __future__ import annotations

from pathlib import Path

import pytest

from pagoda.errors import ConfigError, GateError, PagodaError
from pagoda.training.distributed.job import failures, tell_failure
from pagoda.training.distributed.one_machine import beside_each_other


@pytest.mark.parametrize("mode", [0o755, 0o710, 0o701, 0o777])
def test_processes_do_not_meet_where_others_may_enter(tmp_path: Path, mode: int) -> None:
    assert beside_each_other(2, "any", folder=tmp_path)
    tmp_path.chmod(mode)
    with pytest.raises(ConfigError, match=f"others may enter it \\(mode {mode:o}\\)"):
        beside_each_other(2, "any", folder=tmp_path)


def test_what_failed_is_raised_as_it_was(tmp_path: Path) -> None:
    tell_failure(tmp_path / "job.json", 1, GateError("the loss is nan"))
    (failure,) = failures(tmp_path)
    assert type(failure) is GateError and str(failure) == "the loss is nan"


@pytest.mark.parametrize("kind", ["explain", "ValidationError", "annotations", "masked", "ElsewhereError"])
def test_what_is_no_error_of_ours_is_not_called(tmp_path: Path, kind: str) -> None:
    tell_failure(tmp_path / "job.json", 0, type(kind, (PagodaError,), {})("odd"))
    (failure,) = failures(tmp_path)
    assert type(failure) is PagodaError and str(failure) == "odd"
