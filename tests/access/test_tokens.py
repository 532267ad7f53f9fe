"""Tokens: a file a role, for servers and callers."""

from __future__ import annotations

from pathlib import Path

import pytest

from pagoda.access.curl_files import write_curl_files
from pagoda.access.roles import ROLES
from pagoda.access.tokens import Tokens, make_tokens, token_for, token_of
from pagoda.errors import ConfigError
from pagoda.masking import masked
from pagoda.settings import load_settings


def shown(token: str) -> bytes:
    return f"Bearer {token}".encode()


def test_each_role_has_a_token_of_its_own_that_others_cannot_read(tmp_path: Path) -> None:
    make_tokens(tmp_path / "tokens")
    write_curl_files(tmp_path / "tokens", tmp_path / "curl")
    assert len({token_of(tmp_path / "tokens", role) for role in ROLES}) == len(ROLES)
    files = [tmp_path / folder / role for folder in ("tokens", "curl") for role in ROLES]
    assert {file.stat().st_mode & 0o777 for file in files} == {0o600}
    assert {(tmp_path / name).stat().st_mode & 0o777 for name in ("tokens", "curl")} == {0o700}
    kept = token_of(tmp_path / "tokens", "ask")
    make_tokens(tmp_path / "tokens")
    assert token_of(tmp_path / "tokens", "ask") == kept


def test_a_second_line_is_another_callers_token(tmp_path: Path) -> None:
    make_tokens(tmp_path)
    first, second = token_of(tmp_path, "ask"), "s" * 43
    (tmp_path / "ask").write_text(f"{first}\n{second}\n")
    (tmp_path / "events").write_text(second)
    door = Tokens(tmp_path)
    assert (door.holder(shown(first)).roles, door.holder(shown(second)).roles) == ({"ask"}, {"ask", "events"})
    assert door.holder(first.encode()).roles == door.holder(b"").roles == door.holder(shown("")).roles == frozenset()


def test_a_further_line_names_who_shows_it_and_the_first_that_all_of_an_installation_shows_does_not(
    tmp_path: Path,
) -> None:
    own, another = "o" * 43, "a" * 43
    (tmp_path / "ask").write_text(f"{'i' * 43}\n{own}\n{another}\n")
    (tmp_path / "events").write_text(own)
    door = Tokens(tmp_path)
    assert door.holder(shown("i" * 43)).name == ""
    assert door.holder(shown("unknown" * 9)).name == ""
    names = {door.holder(shown(token)).name for token in (own, another)}
    assert len(names) == 2 and "" not in names


async def test_a_changed_token_counts_without_a_restart(tmp_path: Path) -> None:
    make_tokens(tmp_path)
    door, old, new = Tokens(tmp_path), token_of(tmp_path, "items"), "n" * 43
    (tmp_path / "items").write_text("short")  # refused: what was stays
    await door.refresh()
    assert door.holder(shown(old)).roles == {"items"}
    (tmp_path / "items").write_text(new)
    await door.refresh()
    assert door.holder(shown(new)).roles == {"items"}
    assert door.holder(shown(old)).roles == frozenset()


@pytest.mark.parametrize(("content", "complaint"), [("", "there are no tokens"), ("letmein", "7 characters")])
def test_a_door_without_a_lock_is_refused(tmp_path: Path, content: str, complaint: str) -> None:
    (tmp_path / "ask").write_text(content)
    with pytest.raises(ConfigError, match=complaint):
        Tokens(tmp_path)


def test_an_installations_token_is_shown_to_its_own_service_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_tokens(tmp_path / "tokens")
    (tmp_path / "pagoda.yaml").write_text("recall: {url: 'http://127.0.0.1:8080'}")
    settings = load_settings(tmp_path)
    own = token_of(tmp_path / "tokens", "ask")
    assert token_for(settings, "ask") == token_for(settings, "ask", "http://127.0.0.1:8080/") == own
    assert token_for(settings, "ask", "http://127.0.0.1:8081") == ""
    monkeypatch.setenv("PAGODA_ACCESS__TOKENS", str(tmp_path / "tokens"))
    assert token_for(load_settings(tmp_path), "ask", "http://recall.example") == own


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("redis://:secret@h:1/0", "redis://***@h:1/0"),
        ("at http://root:se:c@h: refused", "at http://***@h: refused"),
        ("redis://h:6379/0 and mail@example", "redis://h:6379/0 and mail@example"),
        ("Authorization: Bearer abcdefghijkl", "Authorization: Bearer ***"),
    ],
)
def test_what_is_printed_holds_no_secret(text: str, shown: str) -> None:
    assert masked(text) == shown
