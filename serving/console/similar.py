"""Items like others, with the titles of both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pagoda.client import SimilarItems
from pagoda.data.ids import whole_number
from pagoda.data.spec import FeatureSpec
from pagoda.errors import RequestError, UnavailableError
from pagoda.generations.release_log import open_log
from pagoda.rollout.state.log_reading import split_of
from pagoda.settings import Settings
from serving.console.asking import asking_recall
from serving.console.titles import titles_of
from serving.users.keys import Key

By = Literal["vector", "behaviour"]


@dataclass(frozen=True)
class SimilarSeen:
    """What a person sees of items like others."""

    asked: Sequence[Key]
    answer: SimilarItems
    titles: Mapping[Key, str]
    """Of both, as far as they have one."""
    untitled: str
    """Why items have no titles; empty where they have."""


def look_similar(settings: Settings, items: Sequence[str], *, k: int, by: By, wanted: Mapping[str, Any]) -> SimilarSeen:
    """Ask for items like some, of the stable arm.

    Args:
        settings: Of this installation.
        items: IDs, as a person types them.
        k: Items at most.
        by: As in a request.
        wanted: The filter, as requests have it.

    Raises:
        RequestError: An item or the filter is wrong.
        UnavailableError: Nothing was released yet, or a server does not answer.
        ConfigError: The settings do not say where recall is, or it does not take their tokens.
    """
    state = open_log(settings).state()
    split = split_of(state)
    if split is None:
        raise UnavailableError("nothing was released yet, so nobody is answered; `pagoda update full` makes the first")
    asked = [_item(state.generation(split.stable).spec, typed) for typed in items]
    with asking_recall(settings) as client:
        answer = client.similar(*asked, k=k, by=by, filter=wanted)
    # Another generation may have been released since.
    manifest = open_log(settings).state().generation(answer.generation)
    titles, why = titles_of(settings, manifest, [*asked, *answer.item_ids])
    return SimilarSeen(asked, answer, titles, why)


def _item(spec: FeatureSpec, typed: str) -> Key:
    if spec.id_type == "string":
        return typed
    if (number := whole_number(typed)) is None:
        raise RequestError(f"item: must be an integer, as the IDs of this dataset are (got {typed!r})")
    return number
