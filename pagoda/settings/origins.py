"""Where each setting comes from."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic_core import to_jsonable_python
from pydantic_settings import EnvSettingsSource, InitSettingsSource

from pagoda.masking import masked
from pagoda.settings.tree import ENDPOINTS_FILE, HOME_VARIABLE, SETTINGS_FILE, Settings, load_settings

_DEFAULT = "default"
_HIDDEN = "***"


@dataclass(frozen=True)
class Setting:
    """One setting as it holds."""

    key: str
    """`milvus.uri`."""
    value: Any
    """As JSON has it; of a secret, or of what is one in a URL, three stars."""
    origin: str
    """`default`, `environment`, the name of a file in home, or for home itself how it was named."""


def resolved(home: Path | None = None) -> list[Setting]:
    """Every setting of the installation in `home` (default: as `load_settings` has it), in the tree's order.

    Raises:
        ConfigError: A key is unknown or a value is wrong.
    """
    settings = load_settings(home)
    given, env = InitSettingsSource(Settings, {"home": settings.home}), EnvSettingsSource(Settings)
    chosen, *others = Settings.settings_customise_sources(Settings, given, env, env, env)
    said = {
        f"--home or {HOME_VARIABLE}": chosen() if home or HOME_VARIABLE in os.environ else {},
        **dict(zip(("environment", SETTINGS_FILE, ENDPOINTS_FILE), (one() for one in others), strict=True)),
    }
    return list(_leaves(settings, (), said))


def _leaves(section: BaseModel, path: tuple[str, ...], said: Mapping[str, Mapping[str, Any]]) -> Iterator[Setting]:
    for name, field in type(section).model_fields.items():
        here, value = (*path, name), getattr(section, name)
        if isinstance(value, BaseModel):
            yield from _leaves(value, here, said)
            continue
        origin = next((origin for origin, tree in said.items() if _says(tree, here)), _DEFAULT)
        # What is a secret by itself is what a section's own text leaves out, too.
        shown = _masked(to_jsonable_python(value)) if field.repr or not value else _HIDDEN
        yield Setting(".".join(here), shown, origin)


def _says(tree: Any, path: tuple[str, ...]) -> bool:
    for name in path:
        if not isinstance(tree, Mapping) or name not in tree:
            return False
        tree = tree[name]
    return True


def _masked(value: Any) -> Any:
    match value:
        case str():
            return masked(value)
        case list():
            return [_masked(one) for one in value]
        case dict():
            return {name: _masked(one) for name, one in value.items()}
    return value
