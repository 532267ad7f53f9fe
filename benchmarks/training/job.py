"""What all trainers have in common: the model, and how they say what they took."""

from __future__ import annotations

import json
import resource

DIM, BATCH, TEMPERATURE, LEARNING_RATE = 64, 2048, 0.1, 0.1
SHARED_BATCH = 8192
"""Of the part with several processes, all together: what a step costs beside its products is the same however large
its batch, and who needs several processes has users enough for a large one."""


def report(samples_per_second: float, *, rows: int, optimiser: str, loss: float, peak: int | None = None) -> None:
    """Print the last line of a job's output; `peak` is the memory of all its processes where there are several."""
    found = {
        "samples_per_second": samples_per_second,
        "rows": rows,
        "optimiser": optimiser,
        "peak_rss_bytes": peak_rss_bytes() if peak is None else peak,
        "loss": loss,
    }
    print(json.dumps(found))


def peak_rss_bytes() -> int:
    """Of this process, until now."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
