"""Outputs of steps: made once, whole or not at all, found by the steps after them."""

from __future__ import annotations

from pathlib import Path

import boto3
import pytest

from pagoda.append_log.store import RecordStore, open_store
from pagoda.errors import ConflictError
from pagoda.storage.atomic import build_folder
from pagoda.storage.copies import download, local_path, upload
from pagoda.updates.step_outputs import Make, StepOutputs, open_outputs


class Pods:
    """Machines with the same outputs; which share a disk, or do not."""

    def __init__(self, url: str, folder: Path) -> None:
        self.url, self._folder, self._count = url, folder, 0

    def new(self) -> StepOutputs:
        """Another machine."""
        self._count += 1
        return open_outputs(f"{self.url}/full/key", self._folder / f"pod-{self._count}")


@pytest.fixture(params=["folder", "bucket"])
def pods(request: pytest.FixtureRequest, tmp_path: Path) -> Pods:
    """Both kinds of place."""
    url = str(tmp_path / "artifacts") if request.param == "folder" else request.getfixturevalue("bucket")
    return Pods(url, tmp_path)


def filled(text: str) -> Make:
    """Makes a folder with two files."""

    def make(folder: Path) -> None:
        with build_folder(folder) as aside:
            (aside / "a").write_text(text)
            (aside / "below").mkdir()
            (aside / "below" / "b").write_text(text * 2)

    return make


def never(_: Path) -> None:
    raise AssertionError("made twice")


def test_a_step_is_made_once_and_found_by_the_next(pods: Pods) -> None:
    pods.new().make("train", filled("x"))
    folder = pods.new().make("train", never)
    assert [(folder / name).read_text() for name in ("a", "below/b")] == ["x", "xx"]
    assert (pods.new().get("train") / "a").read_text() == "x"


def test_a_step_that_is_not_done_is_named(pods: Pods) -> None:
    with pytest.raises(ConflictError, match="run the step 'train' first"):
        pods.new().get("train")


def test_a_step_that_fails_leaves_nothing(pods: Pods) -> None:
    def fail(folder: Path) -> None:
        with build_folder(folder) as aside:
            (aside / "a").write_text("half")
            raise RuntimeError("no memory")

    outputs = pods.new()
    with pytest.raises(RuntimeError, match="no memory"):
        outputs.make("train", fail)
    with pytest.raises(ConflictError):
        pods.new().get("train")
    assert (outputs.make("train", filled("whole")) / "a").read_text() == "whole"


def test_of_two_runs_one_wins_and_both_go_on_with_it(bucket: str, tmp_path: Path) -> None:
    pods = Pods(bucket, tmp_path)
    first, second = pods.new(), pods.new()

    def late(folder: Path) -> None:
        first.make("train", filled("first"))
        filled("second")(folder)

    assert (second.make("train", late) / "a").read_text() == "first"
    assert len(_objects(bucket)) == 3, "the loser's upload is removed"


def test_an_address_is_read_wherever_the_folder_is(tmp_path: Path) -> None:
    outputs = open_outputs(str(tmp_path / "Jörg's 100% home"), tmp_path / "scratch")
    outputs.make("package", filled("x"))
    download(outputs.uri("package", "a"), tmp_path / "a")
    assert (tmp_path / "a").read_text() == "x"
    assert local_path(outputs.uri("package", "a")) == outputs.get("package") / "a"


class AnswersLost:
    """A store's first answer is lost, and the client library repeats the write, which meets the first one."""

    def __init__(self, store: RecordStore) -> None:
        self._store, self.read = store, store.read

    def put(self, name: str, content: bytes) -> None:
        self._store.put(name, content)
        self._store.put(name, content)


def test_an_output_outlives_the_lost_answer_to_its_mark(
    bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pagoda.updates.step_outputs.open_store", lambda url: AnswersLost(open_store(url)))
    pods = Pods(bucket, tmp_path)
    assert (pods.new().make("train", filled("x")) / "a").read_text() == "x"
    assert (pods.new().get("train") / "below" / "b").read_text() == "xx"


def test_an_upload_that_was_broken_off_is_done_again(
    bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outputs = Pods(bucket, tmp_path).new()

    def break_off(path: Path, uri: str) -> None:
        if path.name == "b":
            raise KeyboardInterrupt
        upload(path, uri)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("pagoda.updates.step_outputs.upload", break_off)
        outputs.make("train", filled("x"))
    with pytest.raises(ConflictError):
        Pods(bucket, tmp_path).new().get("train")
    assert (outputs.make("train", never) / "below" / "b").read_text() == "xx"


def test_a_damaged_copy_is_fetched_again(bucket: str, tmp_path: Path) -> None:
    outputs = Pods(bucket, tmp_path).new()
    folder = outputs.make("train", filled("x"))
    (folder / "a").write_text("damaged")
    assert (outputs.get("train") / "a").read_text() == "x"


def test_others_read_files_by_their_address(pods: Pods, tmp_path: Path) -> None:
    outputs = pods.new()
    outputs.make("package", filled("x"))
    address = outputs.uri("package", "a")
    assert address.startswith("s3://" if pods.url.startswith("s3") else "file:///")
    assert address.endswith("/a")


def _objects(bucket: str) -> list[str]:
    listing = boto3.client("s3").list_objects_v2(Bucket=bucket.removeprefix("s3://"))
    return [one["Key"] for one in listing.get("Contents", [])]
