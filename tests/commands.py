"""Command lines, as people and containers type them, against what the CLI declares."""

from __future__ import annotations

from typing import Any


def parse(command: Any, words: list[str]) -> None:
    """Parse to the last subcommand, as a call would, and run nothing; a word that is not understood raises."""
    with command.make_context("pagoda", list(words)) as context:
        if hasattr(command, "resolve_command"):
            _, found, rest = command.resolve_command(context, [*context._protected_args, *context.args])
            parse(found, rest)
