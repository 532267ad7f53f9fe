"""TorchServe's way in: a batch of HTTP bodies, each answered in its own form and with its own status.

No service envelope: TorchServe's KServe envelopes answer only the first request of a batch. This file travels in the
archive; all that it does is in the installed packages.
"""

from __future__ import annotations

import gc
import logging
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch

from pagoda.embeddings.tables import TowerTables
from pagoda.settings import load_settings
from serving import tracing
from serving.tower.replies import Replies
from serving.tower.runtime import TowerRuntime

_replies: Replies | None = None


def handle(data: Sequence[Mapping[str, Any]] | None, context: Any) -> list[bytes] | None:
    """Answer a batch; without one, load the model of `context`."""
    global _replies
    if data is None or _replies is None:
        _replies = _load(context)
    if data is None:
        return None
    bodies = []
    with ExitStack() as stack:
        if tracing.on():
            for place in range(len(data)):
                if parent := _parent(context.get_all_request_header(place)):
                    stack.enter_context(tracing.span("tower.compute", {tracing.PARENT: parent}, requests=len(data)))
        replies = _replies.to([request.get("body", b"") for request in data])
    for place, (status, body) in enumerate(replies):
        context.set_response_content_type(place, "application/json")
        if status != 200:  # noqa: PLR2004
            context.set_response_status(code=status, idx=place)
        bodies.append(body)
    return bodies


def _parent(headers: Mapping[str, Any]) -> str | None:
    # TorchServe keeps a name as it was sent, and proxies written in Go, Knative's among them, send it capitalized.
    return next((value for name, value in headers.items() if name.lower() == tracing.PARENT), None)


def _load(context: Any) -> Replies:
    # TorchServe's worker logs a line a request at INFO.
    logging.getLogger().setLevel(logging.WARNING)
    torch.set_num_threads(1)
    version = str(context.manifest["model"]["modelVersion"])
    tables = TowerTables(load_settings().tables_folder, int(float(version)))
    tracing.start("tower", load_settings().tracing)
    runtime = TowerRuntime.load(Path(context.system_properties["model_dir"]), tables)
    # What was loaded stays for good; a full collection over its 190,000 objects would stop requests for 60 ms.
    gc.freeze()
    return Replies(runtime, version)
