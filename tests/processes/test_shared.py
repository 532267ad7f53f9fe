"""What processes share is the same for each, and nobody's own."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from pagoda.errors import IntegrityError
from pagoda.processes.shared import Shared


def test_what_is_shared_is_the_same_and_nobody_has_a_copy(tmp_path: Path) -> None:
    vectors = np.arange(12, dtype=np.float32).reshape(4, 3)
    value = {"vectors": vectors, "again": vectors, "none": np.empty((0, 3), np.int64), "words": ("a", 1)}
    found = Shared.write(tmp_path, value).open()
    assert found.keys() == value.keys() and found["words"] == ("a", 1)
    for name in ("vectors", "again", "none"):
        np.testing.assert_array_equal(found[name], value[name])
        assert found[name].dtype == value[name].dtype
    assert found["again"] is found["vectors"]
    assert not found["vectors"].flags.owndata and not found["vectors"].flags.writeable


def test_what_another_user_left_in_its_place_is_not_unpickled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shared = Shared.write(tmp_path, {"a": 1})
    other = os.geteuid() + 1
    monkeypatch.setattr(os, "geteuid", lambda: other)
    with pytest.raises(IntegrityError, match="another user's"):
        shared.open()
