"""The search backend of an installation."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from pagoda.index.base import Collections, ItemSearch
from pagoda.item_vectors.originals import Originals, no_originals
from pagoda.settings import Settings


def open_collections(settings: Settings) -> Collections:
    """What building, verifying, item changes, retention and mining need; nothing is asked yet."""
    # Each backend's library is imported where it is used: jobs that need none shall not wait for it.
    match settings.index.backend:
        case "milvus":
            from pagoda.index.milvus.collections import MilvusCollections

            milvus = settings.milvus
            return MilvusCollections(milvus.uri, milvus.token, milvus.timeout_seconds, milvus.imports)
        case "in_process":
            from pagoda.index.in_process.collections import FolderCollections

            # Where a collection holds fewer numbers, who searches it scores again by the originals.
            refine = 1 if settings.index.keeps_originals else settings.index.refine
            return FolderCollections(collections_folder(settings), refine=refine)


def open_search(
    settings: Settings,
    request_id: Callable[[], str | None],
    originals: Callable[[str], Originals | None] = no_originals,
) -> ItemSearch:
    """What the recall service needs; nothing is asked yet.

    Args:
        settings: Of the installation.
        request_id: What the request of now is called in traces.
        originals: Those of a collection, where `index.keeps_originals` and its generation brings some.
    """
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


def collections_folder(settings: Settings) -> Path:
    """Where the in-process backend keeps collections."""
    return settings.home / "collections"
