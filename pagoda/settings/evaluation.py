"""How versions are judged."""

from __future__ import annotations

from pagoda.settings.section import SettingsSection


class EvaluationSettings(SettingsSection):
    """What updates find out of the versions that they make."""

    repeats: bool = False
    """Whether a positive on an item that its user had before is asked like others, and nothing is left out of answers:
    where people buy the same again, and requests do not say `exclude_seen`."""
    first_version: bool = True
    """Whether a first version is judged by a training of its own on all but the last tenth of its window."""
