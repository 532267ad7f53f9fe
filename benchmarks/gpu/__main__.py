"""Samples a second of one CUDA device, as a share of its memory's speed: `python -m benchmarks.gpu`, within 4 minutes.

Never run on a device yet: none was lent. One process, rows alone, the step of `make bench-training` in bfloat16:
Pagoda's own, plain, compiled and as a CUDA graph, beside TorchRec with tables in the device's memory and in the host's
(UVM). What is not installed, or does not fit, is said and left out; so is what time does not allow.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch

from benchmarks.gpu.batches import BATCH, DeviceBatches
from benchmarks.gpu.pagoda_step import compiled, graphed, plain
from benchmarks.gpu.torchrec_step import LOCATIONS, torchrec_step

_ROWS, _DIMS, _ITEMS = (10_000_000, 100_000_000), (64, 128), 1_000_000
_WARM_UP, _SECONDS = 10, 3.0
Step = Callable[[torch.Tensor], torch.Tensor]
Maker = Callable[[int, int, int, torch.device], Step]


def main() -> None:
    """Measure, print a line for each, and write the document."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda", help="cpu: a dry run of what needs no device")
    parser.add_argument("--rows", type=int, nargs="+", default=_ROWS, help="of users")
    parser.add_argument("--dims", type=int, nargs="+", default=_DIMS)
    parser.add_argument("--items", type=int, default=_ITEMS)
    parser.add_argument("--batch", type=int, default=BATCH)
    parser.add_argument("--seconds", type=float, default=_SECONDS, help="of each measurement")
    parser.add_argument("--limit", type=float, default=200.0, help="seconds after which nothing more is begun")
    parser.add_argument("--out", type=Path, default=Path("build/bench/gpu.json"))
    arguments = parser.parse_args()
    device = torch.device(arguments.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise SystemExit("error: PyTorch finds no CUDA device on this machine; run it where one is (--device cpu: dry)")
    speed, found, end = copy_speed(device), [], time.monotonic() + arguments.limit
    name = torch.cuda.get_device_name() if device.type == "cuda" else "cpu"
    print(f"{name}, PyTorch {torch.__version__}: copies {speed / 1e9:,.0f} GB/s, reads and writes")
    for dim in arguments.dims:
        for rows in arguments.rows:
            batches = DeviceBatches(rows, arguments.items, arguments.batch, device)
            for engine, make in engines(device):
                about = {"engine": engine, "dim": dim, "rows": rows}
                outcome = _tried(make, (rows, arguments.items, dim), batches, arguments.seconds, end)
                if (samples := outcome.get("samples_per_second")) is not None:
                    outcome["bandwidth_share"] = samples * bytes_of_a_sample(dim) / speed
                found.append(about | outcome)
                print(_line(found[-1]), flush=True)
    document = {"device": name, "torch": torch.__version__, "bytes_per_second": speed, "batch": arguments.batch}
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(document | {"found": found}, indent=1))


def engines(device: torch.device) -> Iterator[tuple[str, Maker]]:
    """What is measured, by name; on a CPU what runs there."""
    yield "pagoda", plain
    if device.type == "cuda":
        yield "pagoda, compiled", compiled
        yield "pagoda, CUDA graph", graphed
    for place in LOCATIONS if device.type == "cuda" else ("host",):
        yield f"TorchRec, {place}", partial(torchrec_step, place)


def bytes_of_a_sample(dim: int) -> int:
    """What a sample has to move at least: two rows and their sums, each read for the step, and read and written by it.

    What distinct users of a batch have in common is counted twice, so a share is a little too high for small tables.
    """
    return 2 * 3 * 4 * (dim + 1)


def copy_speed(device: torch.device) -> float:
    """Bytes a second that a copy inside the device's memory reads and writes: the best of five."""
    source = torch.empty(2**28 if device.type == "cuda" else 2**22, dtype=torch.float32, device=device)
    target, best = torch.empty_like(source), float("inf")
    for _ in range(5):
        began = _now(device)
        target.copy_(source)
        best = min(best, _now(device) - began)
    return 2 * source.nbytes / best


def _tried(
    make: Maker, sizes: tuple[int, int, int], batches: DeviceBatches, seconds: float, end: float
) -> dict[str, Any]:
    """`samples_per_second`, or why there are none in `left_out`."""
    if time.monotonic() > end:
        return {"left_out": "no time was left"}
    try:
        return {"samples_per_second": _measure(make(*sizes, batches.device), batches, seconds)}
    except (ImportError, RuntimeError) as error:  # Not installed; no memory.
        return {"left_out": str(error).splitlines()[0][:200]}
    finally:
        if batches.device.type == "cuda":
            torch.cuda.empty_cache()


def _measure(step: Step, batches: DeviceBatches, seconds: float) -> float:
    """Samples a second over about so many seconds, copies of the batches to the device included."""
    stream, done, began = iter(batches), 0, 0.0
    while not began or time.perf_counter() < began + seconds:
        if done == _WARM_UP and not began:
            began, done = _now(batches.device), 0
        loss = step(next(stream))
        done += 1
    if not torch.isfinite(loss):
        raise RuntimeError(f"the loss is {float(loss)}")
    return batches.size * done / (_now(batches.device) - began)


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def _line(row: dict[str, Any]) -> str:
    about = f"dim {row['dim']:>3}, {row['rows'] / 1e6:>6,.1f} M users, {row['engine']:<24}"
    if "left_out" in row:
        return f"{about} left out: {row['left_out']}"
    return f"{about} {row['samples_per_second']:>14,.0f} samples/s, {row['bandwidth_share']:.1%} of the memory's speed"


if __name__ == "__main__":
    main()
