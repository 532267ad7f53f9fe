"""What `online.json` says, and the tables for people."""

from __future__ import annotations

import os
from typing import Any

from rich.console import Group
from rich.table import Table

PARTS = ("redis", "torchserve", "milvus")
_SYSTEMS = ("limit", "bare", "straightforward", "pagoda")


def assemble(measured: dict[str, Any]) -> dict[str, Any]:
    """The document: what was measured, and what follows from it.

    Args:
        measured: `items`, the four systems, `parts`, `without` by stage; and `one_connection`, whose latencies were
            measured in turn and so count where one is taken from another.
    """
    in_turn = measured.pop("one_connection")
    pagoda, parts, without = measured["pagoda"], measured["parts"], measured.pop("without")
    for name in PARTS:
        parts[name] = in_turn[name] | parts[name]
    for quantile in ("p50", "p95", "p99"):
        pagoda[quantile]["1"] = in_turn["pagoda"][quantile]
    reduced = {stage: in_turn[f"without {stage}"]["p50"] for stage in without}
    sum_of_parts = sum(parts[name]["p50"] for name in PARTS)
    p50, best = pagoda["p50"]["1"], pagoda["max_rps_at_p99_50ms"]
    # The load has the same processors. Calls are joined, so a request costs the less the more there are: what counts
    # is what it costs at the rate that was kept up.
    ceiling, ceiling_busiest = (
        len(os.sched_getaffinity(0)) * 1e3 / sum(pagoda[name].values()) if pagoda[name] else 0.0
        for name in ("cpu_ms_at_max_rps", "cpu_ms_by_process")
    )
    straightforward = measured["straightforward"]["max_rps_at_p99_50ms"]
    return {
        **measured,
        "own_share_ms": round(p50 - sum_of_parts, 3),
        "ceiling_rps": round(ceiling, 1),
        "ceiling_rps_of_32_connections": round(ceiling_busiest, 1),
        "ratios": {
            "sustained_to_ceiling": round(best / ceiling, 3) if ceiling else None,
            "sustained_to_ceiling_of_32_connections": round(best / ceiling_busiest, 3),
            "sustained_to_straightforward": round(best / straightforward, 3) if straightforward else None,
            "p50_to_sum_of_parts": round(p50 / sum_of_parts, 3),
        },
        "stages_ms": {
            **{f"without_{stage}": milliseconds for stage, milliseconds in reduced.items()},
            **{stage: round(p50 - milliseconds, 3) for stage, milliseconds in reduced.items()},
            "rest": round(p50 - sum(p50 - milliseconds for milliseconds in reduced.values()), 3),
            "cpu_saved_without": {
                stage: round(pagoda["cpu_ms_per_request"] - found["cpu_ms_per_request"], 3)
                for stage, found in without.items()
            },
        },
    }


def as_tables(document: dict[str, Any]) -> Group:
    """Latency and throughput, the parts, and where the milliseconds go."""
    systems = _table(f"{document['items']:,} items × 64, top-100", "", "connections 1: p50", "p99", "8: p50", "p99")
    for name in ("32: p50", "p99", "max/s at p99 ≤ 50 ms", "CPU ms/request", "recall@100"):
        systems.add_column(name, justify="right")
    for name in _SYSTEMS:
        found = document[name]
        latency = [f"{found[p][c]:.2f}" for c in found["p50"] for p in ("p50", "p99")]
        latency += [""] * (6 - len(latency))
        rest = (f"{found['max_rps_at_p99_50ms']:,.0f}", f"{found['cpu_ms_per_request']:.2f}")
        systems.add_row(name, *latency, *rest, f"{found['recall_at_100']:.4f}")
    parts = _table("Each part alone", "", "p50 ms", "p99 ms", "p50 repeated", "CPU ms at 32", "32 at once, /s")
    for name in ("within Pagoda: CPU ms at 32", f"at {document['pagoda']['max_rps_at_p99_50ms']:,.0f}/s"):
        parts.add_column(name, justify="right")
    busiest, sustained = (document["pagoda"][name] for name in ("cpu_ms_by_process", "cpu_ms_at_max_rps"))
    for name in (*PARTS, "recall", "load"):
        found = document["parts"].get(name, {})
        keys = ("p50", "p99", "p50_repeated", "cpu_ms_per_request", "rps_32_at_once")
        numbers = [*(found.get(key) for key in keys), busiest[name], sustained.get(name)]
        parts.add_row(name, *("" if number is None else f"{number:,.2f}" for number in numbers))
    stages = _table("Where a request's milliseconds go (p50, one connection)", "stage", "ms")
    for name in ("store", "tower", "index", "rest"):
        stages.add_row(name, f"{document['stages_ms'][name]:.2f}")
    ratios = document["ratios"]
    lines = [
        f"own share {document['own_share_ms']:.2f} ms over the sum of the parts",
        f"ceiling {document['ceiling_rps']:,.0f}/s by the CPU of a request at the sustained rate, the load's included; "
        f"sustained {ratios['sustained_to_ceiling']} of it",
        f"ceiling {document['ceiling_rps_of_32_connections']:,.0f}/s by the same with 32 connections; "
        f"sustained {ratios['sustained_to_ceiling_of_32_connections']} of it",
        f"{ratios['sustained_to_straightforward']} × the straightforward path",
    ]
    return Group(systems, "", parts, "", stages, "", *lines)


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for place, name in enumerate(columns):
        table.add_column(name, justify="right" if place else "left")
    return table
