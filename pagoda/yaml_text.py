"""YAML that people write: features, settings, training and rollout files. A key that stands twice is refused."""

from __future__ import annotations

from typing import Any

import yaml

from pagoda.errors import ConfigError


def load_yaml(text: str, where: str) -> Any:
    """The content of a YAML text that was found `where`; None when it is empty.

    PyYAML takes the last of two equal keys, though the standard calls them an error (YAML 1.2.2, 3.2.1.1), so that what
    a person wrote above is lost without a word.

    Raises:
        ConfigError: It is not YAML, or a mapping has a key twice; the message names the key and both lines.
    """
    try:
        loader = yaml.SafeLoader(text)
        try:
            root = loader.get_single_node()
            if root is None:
                return None
            _refuse_twice(root, where)
            return loader.construct_document(root)
        finally:
            loader.dispose()
    except yaml.YAMLError as error:
        raise ConfigError(f"{where}: not YAML: {error}") from error


def _refuse_twice(root: yaml.Node, where: str) -> None:
    # Anchors give one node several places; it is looked at once.
    waiting, seen = [root], {id(root)}
    while waiting:
        node = waiting.pop()
        below: list[yaml.Node] = []
        if isinstance(node, yaml.MappingNode):
            _refuse_keys(node, where)
            below = [value for _, value in node.value]
        elif isinstance(node, yaml.SequenceNode):
            below = node.value
        waiting += [one for one in below if id(one) not in seen]
        seen.update(map(id, below))


def _refuse_keys(mapping: yaml.MappingNode, where: str) -> None:
    lines: dict[tuple[str, str], int] = {}
    for key, _ in mapping.value:
        if not isinstance(key, yaml.ScalarNode):
            continue
        name, line = (key.tag, key.value), key.start_mark.line + 1
        if name in lines:
            raise ConfigError(
                f"{where}: line {line}: the key {key.value!r} is there twice, first in line {lines[name]}; keep one"
            )
        lines[name] = line
