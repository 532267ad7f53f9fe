"""What all trainers have in common: the model, and how they say what they took."""

from __future__ import annotations

import json
import resource

DIM, BATCH, TEMPERATURE, LEARNING_RATE = 64, 2048, 0.1, 0.1


def report(samples_per_second: float, **more: float | str) -> None:
    """Print the last line of a job's output."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"samples_per_second": samples_per_second, "peak_rss_bytes": peak, **more}))
