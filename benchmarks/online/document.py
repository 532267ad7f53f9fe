"""What `online.json` says, and the tables for people."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from rich.console import Group
from rich.table import Table

from pagoda.standalone.profiles import COMPACT, FULL

PARTS = ("redis", "torchserve", "milvus")
PROFILES = (FULL, COMPACT)
_STAGES = {
    "store": "store",
    "tower": "tower",
    "index": "index",
    "between": "between them",
    "around": "HTTP, parsing, rendering, the load",
}
_SYSTEMS = ("limit", "bare", "compact", "straightforward", "pagoda", "kserve_tower")
_IN_TURN = ("bare", "compact", "pagoda", "kserve_tower")
"""Those whose latency at one connection was measured in turn."""


def assemble(measured: dict[str, Any]) -> dict[str, Any]:
    """The document: what was measured, and what follows from it.

    Args:
        measured: `items`, the six systems, `parts`, `without` by stage; `sustained` by system; and `one_connection`,
            whose latencies were measured in turn and so count where one is taken from another.

    Returns:
        Among others `ceiling_rps`: what the processors allow when a request costs what each part's call costs alone,
        with 32 callers, and recall and the load what they cost with 32 connections. `ceiling_rps_joined`: the same by
        what a request costs in Pagoda at the rate that is kept up. Joined calls cost less, so that ceiling is higher,
        and the ratio to it is the share of the processors' time that is used.
    """
    in_turn = measured.pop("one_connection")
    for name, found in measured.pop("sustained").items():
        measured[name] |= found
    pagoda, parts, without = measured["pagoda"], measured["parts"], measured.pop("without")
    for name in PARTS:
        parts[name] = in_turn[name] | parts[name]
    for name in _IN_TURN:
        for quantile in ("p50", "p95", "p99"):
            measured[name][quantile]["1"] = in_turn[name][quantile]
    sum_of_parts = sum(parts[name]["p50"] for name in PARTS)
    p50, best = pagoda["p50"]["1"], pagoda["max_rps_at_p99_50ms"]
    straightforward = measured["straightforward"]["max_rps_at_p99_50ms"]
    bare, compact = measured["bare"], measured["compact"]
    bare_best = bare["max_rps_at_p99_50ms"]
    # The load has the same processors.
    busiest, sustained = pagoda["cpu_ms_by_process"], pagoda["cpu_ms_at_max_rps"]
    others = {name: milliseconds for name, milliseconds in busiest.items() if name not in PARTS}
    alone = {name: parts[name]["cpu_ms_per_request"] for name in PARTS} | others
    ceiling, joined = round(_rps(alone), 1), round(_rps(sustained), 1)
    return {
        **measured,
        "own_share_ms": in_turn["own"]["p50"],
        "ceiling_rps": ceiling,
        "ceiling_rps_joined": joined,
        "ratios": {
            "sustained_to_ceiling": round(best / ceiling, 3),
            "sustained_to_ceiling_joined": round(best / joined, 3) if best else 0.0,
            "sustained_to_straightforward": round(best / straightforward, 3) if straightforward else None,
            "straightforward_to_ceiling": round(straightforward / ceiling, 3),
            "p50_to_sum_of_parts": round(p50 / sum_of_parts, 3),
            "compact_p50_to_bare": round(compact["p50"]["1"] / bare["p50"]["1"], 3),
            "compact_rps_to_bare": round(compact["max_rps_at_p99_50ms"] / bare_best, 3) if bare_best else None,
            **{f"channels_rps_to_two_tower_{name}": _of_towers(measured["channels"][name]) for name in PROFILES},
        },
        "stages_ms": _stages(in_turn["pagoda"])
        | {
            "saved_without": {stage: round(p50 - in_turn[f"without {stage}"]["p50"], 3) for stage in without},
            "cpu_saved_without": {
                stage: round(pagoda["cpu_ms_per_request"] - found["cpu_ms_per_request"], 3)
                for stage, found in without.items()
            },
        },
    }


def _of_towers(rates: Mapping[str, Mapping[str, Any]]) -> float | None:
    """The rate with all channels over that of the towers alone."""
    alone = rates["two_tower"]["max_rps_at_p99_50ms"]
    return round(rates["all"]["max_rps_at_p99_50ms"] / alone, 3) if alone else None


def _stages(pagoda: Mapping[str, float]) -> dict[str, float]:
    """Where the p50 of one connection goes: in each stage, between the stages, and around them."""
    stages = {name: pagoda[f"stage_{name}"] for name in ("store", "tower", "index")}
    total = pagoda["stage_total"]
    return {**stages, "between": round(total - sum(stages.values()), 3), "around": round(pagoda["p50"] - total, 3)}


def _rps(cpu_ms: Mapping[str, float]) -> float:
    """Requests a second that take all processors' time, at so many milliseconds of each process."""
    return len(os.sched_getaffinity(0)) * 1e3 / sum(cpu_ms.values()) if cpu_ms else 0.0


def as_tables(document: dict[str, Any]) -> Group:
    """Latency and throughput, the parts, and where the milliseconds go."""
    systems = _table("", "connections 1: p50", "p99", "8: p50", "p99")
    for name in ("32: p50", "p99", "max/s at p99 ≤ 50 ms", "CPU ms/request", "recall@100"):
        systems.add_column(name, justify="right")
    for name in _SYSTEMS:
        found = document[name]
        latency = [f"{found[p][c]:.2f}" for c in found["p50"] for p in ("p50", "p99")]
        latency += [""] * (6 - len(latency))
        rest = (f"{found['max_rps_at_p99_50ms']:,.0f}", f"{found['cpu_ms_per_request']:.2f}")
        systems.add_row(name, *latency, *rest, f"{found['recall_at_100']:.4f}")
    parts = _table("", "p50 ms", "p99 ms", "p50 repeated", "CPU ms at 32", "32 at once, /s")
    for name in ("within Pagoda: CPU ms at 32", f"at {document['pagoda']['max_rps_at_p99_50ms']:,.0f}/s"):
        parts.add_column(name, justify="right")
    busiest, sustained = (document["pagoda"][name] for name in ("cpu_ms_by_process", "cpu_ms_at_max_rps"))
    for name in (*PARTS, "recall", "load"):
        found = document["parts"].get(name, {})
        keys = ("p50", "p99", "p50_repeated", "cpu_ms_per_request", "rps_32_at_once")
        numbers = [*(found.get(key) for key in keys), busiest[name], sustained.get(name)]
        parts.add_row(name, *("" if number is None else f"{number:,.2f}" for number in numbers))
    stages = _table("stage", "ms", "saved without it", "CPU ms at 32 saved without it")
    times = document["stages_ms"]
    for name, title in _STAGES.items():
        saved = [times[kind].get(name) for kind in ("saved_without", "cpu_saved_without")]
        stages.add_row(title, *("" if number is None else f"{number:.2f}" for number in (times[name], *saved)))
    ratios = document["ratios"]
    lines = [
        f"own share {document['own_share_ms']:.2f} ms over the sum of the parts",
        f"ceiling {document['ceiling_rps']:,.0f}/s by the CPU of each part alone, of recall and of the load; "
        f"sustained {ratios['sustained_to_ceiling']} of it, straightforward {ratios['straightforward_to_ceiling']}",
        f"ceiling {document['ceiling_rps_joined']:,.0f}/s by the CPU of a request at the sustained rate, calls joined; "
        f"sustained {ratios['sustained_to_ceiling_joined']} of it",
        f"{ratios['sustained_to_straightforward']} × the straightforward path",
        *(
            f"{name}: with all channels {ratios[f'channels_rps_to_two_tower_{name}']} of the rate of the towers alone"
            for name in PROFILES
        ),
        f"compact: one connection's p50 {ratios['compact_p50_to_bare']} × the bare app's, "
        f"sustained {ratios['compact_rps_to_bare']} of its rate",
    ]
    return Group(
        f"{document['items']:,} items × 64, top-100",
        systems,
        "\nEach part alone",
        parts,
        "\nWhere a request's milliseconds go (p50, one connection)",
        stages,
        "\nChannels",
        channels_table(document["channels"]),
        "",
        *lines,
    )


def channels_table(channels: Mapping[str, Any]) -> Table:
    """Each channel in process, and what is kept up by all of them and by the towers alone."""
    table = _table("", "items of 100", "ms in process")
    for profile in PROFILES:
        for name in (f"{profile}: max/s at p99 ≤ 50 ms", "recall's CPU ms"):
            table.add_column(name, justify="right")
    for name, found in channels["by_channel"].items():
        rates = [one.get(name) for one in (channels[profile] for profile in PROFILES)]
        cells = [
            (f"{one['max_rps_at_p99_50ms']:,.0f}", f"{one['cpu_ms_at_max_rps'].get('recall', 0):.2f}")
            if one
            else ("", "")
            for one in rates
        ]
        table.add_row(name, f"{found['items']:.1f}", f"{found['ms']:.3f}", *(cell for pair in cells for cell in pair))
    return table


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for place, name in enumerate(columns):
        table.add_column(name, justify="right" if place else "left")
    return table
