"""The search backend of an installation."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from pagoda.index.base import Collections, ItemSearch
from pagoda.index.elasticsearch import NEVER_RUN
from pagoda.index.milvus import WORDS_NEVER_RUN
from pagoda.item_vectors.vectors_by_id import VectorsById, no_vectors
from pagoda.settings import Settings

if TYPE_CHECKING:
    from pagoda.index.in_process.stored_collections import StoredCollections


_log = logging.getLogger(__name__)


def caution(settings: Settings) -> str:
    """What whoever relies on the search backend of the settings must know; empty: nothing."""
    match settings.index.backend:
        case "elasticsearch":
            return NEVER_RUN
        case "milvus" if settings.index.text:
            return WORDS_NEVER_RUN
    return ""


@cache
def _warn(what: str) -> None:
    """Once in each process."""
    if what:
        _log.warning("%s", what)


def open_collections(settings: Settings) -> Collections:
    """What building, verifying, item changes, retention and mining need; nothing is asked yet."""
    _warn(caution(settings))
    # Each backend's library is imported where it is used: jobs that need none shall not wait for it.
    match settings.index.backend:
        case "milvus":
            from pagoda.index.milvus.collections import MilvusCollections

            milvus = settings.milvus
            return MilvusCollections(milvus.uri, milvus.token, milvus.timeout_seconds, milvus.imports)
        case "in_process":
            from pagoda.index.in_process.collections import FolderCollections

            if settings.index.copied:
                return open_copies(settings)
            return FolderCollections(collections_folder(settings), refine=_refine(settings))
        case "elasticsearch":
            from pagoda.index.elasticsearch.collections import ElasticsearchCollections

            return ElasticsearchCollections(settings.elasticsearch)


def require_words(settings: Settings) -> None:
    """Refuse `index.text` where the backend's server searches no words, before anything is learned for it.

    Raises:
        ConfigError: The server is too old.
        UnavailableError: It does not answer.
    """
    if settings.index.text and settings.index.backend == "milvus":
        from pagoda.index.milvus.collections import MilvusCollections

        milvus = settings.milvus
        server = MilvusCollections(milvus.uri, milvus.token, milvus.timeout_seconds)
        try:
            server.require_words()
        finally:
            server.close()


def open_search(
    settings: Settings,
    request_id: Callable[[], str | None],
    originals: Callable[[str], VectorsById | None] = no_vectors,
) -> ItemSearch:
    """What the recall service needs; nothing is asked yet.

    Args:
        settings: Of the installation.
        request_id: What the request of now is called in traces.
        originals: Those of a collection, where `index.keeps_originals` and its generation brings some.
    """
    _warn(caution(settings))
    match settings.index.backend:
        case "milvus":
            from pagoda.index.milvus.search import MilvusSearch

            milvus, index, seconds = settings.milvus, settings.index, settings.recall.index_seconds
            return MilvusSearch(
                milvus.uri,
                milvus.token,
                seconds,
                index.effort,
                request_id,
                refine=index.refine,
                originals=originals,
            )
        case "in_process":
            from pagoda.index.in_process.search import FolderSearch

            index, held = settings.index, originals if settings.index.keeps_originals else None
            return FolderSearch(collections_folder(settings), index.effort, index.refine, held)
        case "elasticsearch":
            from pagoda.index.elasticsearch.search import ElasticsearchSearch

            seconds = settings.recall.index_seconds
            return ElasticsearchSearch(settings.elasticsearch, seconds, settings.index.effort, request_id)


def open_copies(settings: Settings, folder: Path | None = None) -> StoredCollections:
    """The collections of `index.store`, and this host's copies of those that it searches; in home without `folder`."""
    from pagoda.index.in_process.collection_store import CollectionStore
    from pagoda.index.in_process.stored_collections import StoredCollections

    store = CollectionStore(settings.index.store)
    return StoredCollections(folder or collections_folder(settings), store, refine=_refine(settings))


def _refine(settings: Settings) -> int:
    """In process: where a collection holds fewer numbers, who searches it scores again by the originals."""
    return 1 if settings.index.keeps_originals else settings.index.refine


def collections_folder(settings: Settings) -> Path:
    """Where the in-process backend keeps collections."""
    return settings.home / "collections"
