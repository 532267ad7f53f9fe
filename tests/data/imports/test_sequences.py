"""Sequences become a dataset in which leaving a user's last item out is leaving a window out."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from pagoda.cli.data.data import app
from pagoda.data.checks.check import check_dataset
from pagoda.data.dataset import Dataset
from pagoda.data.imports.sequences import import_sequences
from pagoda.data.window import Window
from pagoda.errors import DataError

SEQUENCES = st.lists(st.lists(st.integers(0, 9), min_size=1, max_size=40), min_size=1, max_size=8).filter(
    lambda found: any(len(items) > 2 for items in found)
)


def by_user(dataset: Dataset, window: Window | None = None) -> dict[int, list[int]]:
    found: dict[int, list[int]] = defaultdict(list)
    for batch in dataset.batches(window):
        for user, item in zip(batch["user_id"].to_pylist(), batch["item_id"].to_pylist(), strict=True):
            found[user].append(item)
    return found


@settings(max_examples=15)
@given(given_items=SEQUENCES)
def test_windows_leave_the_last_two_of_each_user_out(
    tmp_path_factory: pytest.TempPathFactory, given_items: list[list[int]]
) -> None:
    folder = tmp_path_factory.mktemp("sequences")
    lines = {7 * user: items for user, items in enumerate(given_items)}
    (folder / "file").write_text("\n".join(" ".join(map(str, [user, *items])) for user, items in lines.items()))
    splits = import_sequences(folder / "data", folder / "file")
    dataset = Dataset.open(folder / "data")
    assert by_user(dataset) == lines
    asked = {user: items for user, items in lines.items() if len(items) > 2}
    assert by_user(dataset, splits.test) == {user: items[-1:] for user, items in asked.items()}
    assert by_user(dataset, splits.validation) == {user: items[-2:-1] for user, items in asked.items()}
    kept = {user: items[:-2] if user in asked else items for user, items in lines.items()}
    assert by_user(dataset, splits.train) == kept


def test_the_folder_is_a_dataset_like_any_other(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("1 5 6 7 8\n2 6 6 9\n\n")
    import_sequences(tmp_path / "data", tmp_path / "file")
    assert check_dataset(tmp_path / "data").report.ok
    dataset = Dataset.open(tmp_path / "data")
    np.testing.assert_array_equal(dataset.items()["item_id"], [5, 6, 7, 8, 9])


def test_the_command_says_where_leave_one_out_cuts(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("1 5 6 7 8\n2 6 7 9\n")
    arguments = ["import", "sequences", str(tmp_path / "data"), "--file", str(tmp_path / "file")]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert "7 interactions, 2 users, 5 items" in " ".join(result.output.split())
    assert "--window-end 2000-12-31T23:00:00+00:00, test from 2001-01-01T00:00:00+00:00" in result.output


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("1 2 3 4\n2 x 5\n", "line 2: expected integers: a user and their items"),
        ("1 2 3 4\n1 5 6 7\n", "user 1 has two lines"),
        ("1 2 3\n2 4\n", "no user has three items"),
        ("", "no user has three items"),
    ],
)
def test_what_is_no_such_file_is_refused(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "file").write_text(text)
    with pytest.raises(DataError, match=says):
        import_sequences(tmp_path / "data", tmp_path / "file")
    assert not (tmp_path / "data").exists()
