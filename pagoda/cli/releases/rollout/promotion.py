"""What a promotion by hand overrules, and whether that is meant."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator

import typer
from rich.console import Console, Group, RenderableType
from rich.text import Text

from pagoda.cli.releases.rollout.tables import headline, told
from pagoda.errors import RequestError
from pagoda.rollout.commands import overruled
from pagoda.rollout.gate_results import Verdict
from pagoda.rollout.gates.offline import INTEGRITY
from pagoda.rollout.showing import Seen
from pagoda.rollout.state.machine import BEFORE_ARM, Phase, Rollout


def what_it_overrules(seen: Seen, rollout: Rollout) -> Group:
    """Gates that do not let the candidate go on now, and steps that it does not take."""
    return Group(Text(headline(seen, rollout), style="bold"), *_lines(seen, rollout))


def _lines(seen: Seen, rollout: Rollout) -> Iterator[RenderableType]:
    gates = overruled(seen.gates)
    for gate in gates:
        yield told("overrules:", f"{gate.gate}, which says {gate.verdict}: {gate.detail}")
    if not seen.gates:
        yield told("overrules:", "what gates of quality will say; none has been measured yet")
    elif not gates:
        yield told("overrules:", "no gate now; what they would say later")
    if skipped := _skipped(rollout):
        yield told("skips:", skipped)
    for gate in seen.gates:
        if gate.gate in INTEGRITY and gate.verdict is not Verdict.PASSED:
            yield told("does not overrule:", gate.told)
    for trouble in seen.look.trouble:
        yield Text(trouble, style="yellow")


def _skipped(rollout: Rollout) -> str:
    """Shadow and steps that lie before it."""
    policy = rollout.policy
    shadow = ["shadow"] if policy.shadow and rollout.phase in (Phase.REGISTERED, Phase.VERIFIED) else []
    first = 0 if rollout.phase in BEFORE_ARM else rollout.step + 1
    steps = [f"step {n + 1} ({step.percent} % of the users)" for n, step in enumerate(policy.steps) if n >= first]
    return ", ".join([*shadow, *steps]) if rollout.previous else ""


def make_sure(seen: Seen, rollout: Rollout, command: list[str], *, console: Console) -> None:
    """Ask whoever sits at the terminal; any answer but yes ends the command.

    Raises:
        RequestError: There is no terminal to ask at; the message has `command` to give instead.
    """
    if not _at_terminal():
        named = ", ".join(gate.gate for gate in overruled(seen.gates)) or "gates of quality"
        raise RequestError(
            f"rollout promote: overrules {named} for {rollout.candidate}, and there is no terminal to confirm that at; "
            f"`{shlex.join(command)}` does it without asking"
        )
    typer.confirm(f"Promote {rollout.candidate} to all users?", abort=True, err=console.stderr)


def _at_terminal() -> bool:
    return sys.stdin.isatty()
