"""Profiles: what the platform of one machine runs. Each is a few settings, recorded where the addresses are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from pagoda.errors import ConfigError, ConflictError, PagodaError
from pagoda.settings import SETTINGS_FILE, Settings, load_settings
from pagoda.standalone.endpoints import changed, of

FULL, COMPACT = "full", "compact"
PROFILES: Mapping[str, Mapping[str, str]] = {
    FULL: {"index.backend": "milvus", "tower.runtime": "torchserve"},
    COMPACT: {"index.backend": "in_process", "tower.runtime": "in_process"},
}
"""`full`: Milvus and TorchServe, as on a cluster. `compact`: search and tower in the recall process."""


def profile_of(settings: Settings) -> str:
    """The profile that the settings are; empty where they are of no profile."""
    return next((name for name, said in PROFILES.items() if all(of(settings, key) == said[key] for key in said)), "")


@contextmanager
def profile_chosen(home: Path, profile: str | None) -> Iterator[Settings]:
    """Record a profile, which later starts go on with, and give the settings as they are then; None: as they are.

    An error in the block undoes it.

    Raises:
        ConfigError: There is no such profile, or `pagoda.yaml` or the environment says otherwise.
    """
    if profile is None:
        yield load_settings(home)
        return
    if profile not in PROFILES:
        raise ConfigError(f"--profile {profile!r}: there are {' and '.join(PROFILES)}")
    wanted = PROFILES[profile]
    # What is the default is not recorded, so that an earlier release can read the file.
    before = _record(home, {key: None if profile == FULL else value for key, value in wanted.items()})
    try:
        settings = load_settings(home)
        if other := [f"{key}: {of(settings, key)}" for key, value in wanted.items() if of(settings, key) != value]:
            raise ConfigError(f"--profile {profile}: {home / SETTINGS_FILE} or the environment says {', '.join(other)}")
        yield settings
    except BaseException:
        _record(home, before)
        raise


def require_served_backend(settings: Settings) -> None:
    """Refuse to start what would search elsewhere than where the collection of what serves is.

    Raises:
        ConflictError: It is in another search backend.
    """
    # Not at the top: the guardian, which asks for the profile alone, lives as long as the platform.
    from pagoda.generations.release_log import open_log

    try:
        state = open_log(settings).state()
    except PagodaError:
        return  # A damaged log is told where it is followed, and nothing is served by it.
    stable, backend = state.generations[state.stable] if state.stable else None, settings.index.backend
    if stable and stable.backend != backend:
        profile = profile_of(settings)
        named = f" --profile {profile}" if profile else ""
        raise ConflictError(
            f"{settings.home} serves {stable.id}, whose collection is in the search backend {stable.backend!r}, and "
            f"recall would search in {backend!r}; `pagoda index rebuild{named}` builds it there and releases it"
        )


def _record(home: Path, values: Mapping[str, str | None]) -> dict[str, str | None]:
    """Record values of settings, None: nothing; returns what was recorded of them before."""
    before: dict[str, str | None] = {}
    with changed(home) as content:
        for key, value in values.items():
            section, name = key.split(".")
            before[key] = content.setdefault(section, {}).pop(name, None)
            if value is not None:
                content[section][name] = value
            if not content[section]:
                del content[section]
    return before
