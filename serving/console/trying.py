"""The page on which a person tries a recall, and how a program would ask the same."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from pagoda.errors import PagodaError
from pagoda.settings import Settings
from serving.console.asking import as_json, look, moves, read_filter
from serving.console.explaining import explained, explained_as_json, lines_of


class Trial(BaseModel):
    """What a person fills in."""

    model_config = ConfigDict(frozen=True)

    user: str = ""
    """ID, as a person types it; empty: nobody yet."""
    k: int = Field(default=20, ge=1, le=100)
    """Items at most."""
    wanted: str = ""
    """The filter, as JSON."""
    text: str = ""
    """What is looked for in titles and texts."""
    explain: bool = False
    """Whether to say how the answers come about."""
    click: int = Field(default=0, ge=0)
    """Number of the item, from 1, for which an event is sent before asking again; 0: none."""


def trial(settings: Settings, asked: Trial) -> Mapping[str, Any]:
    """What a person sees who tries a user; empty where none is named, and with the error where nothing is answered."""
    shown: dict[str, Any] = {
        "asked": asked,
        "seen": None,
        "error": "",
        "moves": [],
        "why": [],
        "untitled": "",
        "code": {},
    }
    if not asked.user.strip():
        return shown
    try:
        wanted = read_filter(asked.wanted)
        text = asked.text.strip()
        seen = look(settings, asked.user.strip(), k=asked.k, wanted=wanted, text=text, click=asked.click)
        why = explained(settings, seen, k=asked.k, wanted=wanted, text=text) if asked.explain else []
    except PagodaError as error:
        return shown | {"error": str(error)}
    beside = [*seen.answers[1:], *([seen.then] if seen.then else [])]
    return shown | {
        "seen": as_json(seen),
        "moves": [moves(seen.answers[0].items, answer.items) for answer in beside],
        "why": [{**told, "lines": lines_of(answer)} for told, answer in zip(explained_as_json(why), why, strict=True)],
        "untitled": seen.untitled,
        "code": _code(settings, {"user_id": seen.user}, asked.k, wanted),
    }


def _code(settings: Settings, instance: dict[str, Any], k: int, filter_: dict[str, Any]) -> dict[str, str]:
    """The same request for a shell and for a program; the token is read where they run, and is on no page."""
    wanted = {"k": k, "exclude_seen": True, **({"filter": filter_} if filter_ else {})}
    body = json.dumps({"instances": [{**instance, **wanted}]}, ensure_ascii=False)
    token = f"Authorization: Bearer $(head -n1 {shlex.quote(str(settings.tokens_folder / 'ask'))})"
    options = "".join(f", {name}={value!r}" for name, value in wanted.items())
    return {
        "curl": f'curl -s {settings.recall.url}/v1/models/recall:predict -H "{token}" \\\n'
        f"  -H 'Content-Type: application/json' -d {shlex.quote(body)}",
        "python": "from pagoda.client import Client\n\n"
        f"with Client(home={str(settings.home)!r}) as client:\n"
        f"    answer = client.recommend({instance['user_id']!r}{options})\n",
    }
