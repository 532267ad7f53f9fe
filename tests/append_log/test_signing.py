"""With a key, a log believes what was signed with it, and nothing else."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from pagoda.append_log.records import record_name
from pagoda.errors import ConfigError, ConflictError, IntegrityError
from pagoda.generations.release_log import ReleaseLog, open_log, sign_log
from pagoda.item_changes.log import open_item_log, sign_item_log
from pagoda.item_changes.records import ItemChange
from pagoda.settings import Settings, load_settings
from pagoda.standalone.signing_key import ensure_signing_key, make_signing_key

KEY, OTHER = "k" * 32, "o" * 32


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("PAGODA_REGISTRY__SIGNING_KEY", KEY)
    return load_settings(tmp_path)


def record(settings: Settings, number: int = 1) -> Path:
    return Path(settings.log_url) / record_name(number)


def test_what_is_signed_is_read_by_others_who_hold_the_key_and_by_those_who_hold_none(settings: Settings) -> None:
    open_log(settings).append("noted", {"generation": "g1"})
    open_item_log(settings).append([ItemChange(item_id=1, features=None)])
    for log in (open_log(settings), ReleaseLog(settings.log_url)):
        assert [one.body for one in log.records()] == [{"generation": "g1"}]
    assert [one.number for one in open_item_log(settings).records()] == [1]


def forge(path: Path) -> None:
    """Change a record in a way that it is still one."""
    path.write_bytes(path.read_bytes().replace(b'"g1"', b'"g9"'))


def strip(path: Path) -> None:
    """Take the signature away."""
    path.write_bytes(path.read_bytes().partition(b"\n")[0])


def exchange(path: Path) -> None:
    """Put another signed record in its place."""
    path.write_bytes((path.parent / record_name(2)).read_bytes())


@pytest.mark.parametrize("harm", [forge, strip, exchange])
def test_a_record_that_was_tampered_with_is_refused(settings: Settings, harm: object) -> None:
    for generation in ("g1", "g2"):
        open_log(settings).append("noted", {"generation": generation})
    harm(record(settings))  # type: ignore[operator]
    with pytest.raises(IntegrityError, match=r"release log: 00000001\.json is (not signed|signed with another key)"):
        open_log(settings).records()


def test_a_record_of_another_key_or_of_the_other_log_is_refused(settings: Settings) -> None:
    url = settings.registry.model_copy(update={"signing_key": OTHER})
    open_log(settings.model_copy(update={"registry": url})).append("noted", {"generation": "g1"})
    with pytest.raises(IntegrityError, match="signed with another key"):
        open_log(settings).records()
    record(settings).rename(Path(settings.log_url) / "items.json")
    open_item_log(settings).append([ItemChange(item_id=1, features=None)])
    (Path(settings.log_url) / "items" / record_name(1)).rename(record(settings))
    with pytest.raises(IntegrityError, match="signed with another key"):
        open_log(settings).records()


def test_records_from_before_the_key_count_once_they_are_signed_as_a_whole(settings: Settings) -> None:
    unsigned = ReleaseLog(settings.log_url)
    for number in range(1001):  # with a pack of the first thousand
        unsigned.append("noted", {"generation": f"g{number}"})
    with pytest.raises(IntegrityError, match=r"is not signed; .* `pagoda sign-log`"):
        open_log(settings).state()
    assert (sign_log(settings), sign_item_log(settings)) == (1002, 0)
    open_log(settings).append("noted", {"generation": "g9"})
    assert open_log(settings).state().head == 1002
    unsigned.append("noted", {"generation": "forged"})
    with pytest.raises(IntegrityError, match=r"00001003\.json is not signed"):
        open_log(settings).state()
    with pytest.raises(ConflictError):
        sign_log(settings)


def test_a_forged_list_of_what_counts_is_refused(settings: Settings) -> None:
    ReleaseLog(settings.log_url).append("noted", {"generation": "g1"})
    (Path(settings.log_url) / "signed.json").write_text(json.dumps({}) + "\nhmac-sha256:00")
    with pytest.raises(IntegrityError, match=r"signed\.json is not signed"):
        open_log(settings).records()


def test_a_new_installation_gets_a_key_of_its_own_and_an_old_one_when_it_asks(tmp_path: Path) -> None:
    ensure_signing_key(tmp_path / "new")
    path = tmp_path / "new" / "signing.key"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    key = load_settings(tmp_path / "new").signing_key
    ensure_signing_key(tmp_path / "new")
    assert load_settings(tmp_path / "new").signing_key == key
    ReleaseLog(str(tmp_path / "old" / "log")).append("noted", {"generation": "g1"})
    ensure_signing_key(tmp_path / "old")
    assert open_log(load_settings(tmp_path / "old")).state().head == 1
    make_signing_key(tmp_path / "old" / "signing.key")
    assert sign_log(load_settings(tmp_path / "old")) == 1


def test_a_short_key_is_refused_and_not_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAGODA_REGISTRY__SIGNING_KEY", "hunter2")
    with pytest.raises(ConfigError, match=r"signing_key: .*32 characters") as refused:
        load_settings(tmp_path)
    assert "hunter2" not in str(refused.value)
