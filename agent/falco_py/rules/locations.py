# SPDX-License-Identifier: Apache-2.0
"""A place in a rules file becomes the stack of what it lies in: the content, the item, its part, the expression.

Item types are Falco's words. Invariant: a stack begins with the content of the file and never raises, whatever the
text is; a file that is no YAML has a stack of one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import yaml

from .items import KINDS
from .places import Place, Source
from .priority import Priority

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from .problems import Problem

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_NAME_WIDTH = 17  # of a condition, where it stands for a name
_TYPES = {"list": "list", "macro": "macro", "rule": "rule", "required_engine_version": "required_engine_version",
          "required_plugin_versions": "required plugin versions"}  # fmt: skip
_PARTS = {"priority": "rule priority", "override": "overrides", "items": "list item"}


class Location(NamedTuple):
    item_type: str
    item_name: str
    place: Place


class Locations:
    """The structure of one file."""

    def __init__(self, file: str, text: str) -> None:
        self.source = Source(file, text)
        self.items: list[yaml.MappingNode] = []
        try:
            for document in yaml.compose_all(self.source.text, Loader=_LOADER):
                if isinstance(document, yaml.SequenceNode):
                    self.items += [node for node in document.value if isinstance(node, yaml.MappingNode)]
        except (yaml.YAMLError, RecursionError, ValueError):
            self.items = []

    def odd_priorities(self) -> list[str]:
        """Priorities that load but that the schema does not know, as they are not in capitals."""
        words = [_text(pairs_of(item).get("priority")) for item in self.items]
        return [word for word in words if Priority.parse(word) is not None and word != word.upper()]

    def stack(self, problem: Problem) -> list[Location]:
        at = problem.offset
        content = Location("rules content", "", Place(self.source.file, 1, 1, 0))
        item = _last_before(self.items, at)
        if item is None:
            return [content._replace(place=self.source.place(at))]
        return [content, *self._item(item, problem, at)]

    def _at(self, kind: str, name: str, node: yaml.Node) -> Location:
        return Location(kind, name, self.source.place(node.start_mark.index))

    def _item(self, item: yaml.MappingNode, problem: Problem, at: int) -> Iterator[Location]:
        keys = pairs_of(item)
        kind = next((one for one in KINDS if one in keys), "")
        yield self._at(_TYPES.get(kind, "rules content item"), _text(keys.get(kind)), item)
        key, value = _holding(item, at)
        if value is None or key == kind:
            return
        if key == "condition":
            yield self._at(f"{kind} condition", "", value)
            yield Location("condition expression", _quoted(_text(value)), self.source.place(at))
        elif key == "output":
            yield self._at("rule output", "", value)
            if problem.code != "LOAD_ERR_YAML_VALIDATE":
                yield Location("rule output expression", "", self.source.place(at))
        elif key == "exceptions":
            yield self._at("exceptions", "", value)
            yield from self._exception(value, at)
        elif key in _PARTS:
            yield Location(_PARTS[key], "", self.source.place(at))
        else:
            yield self._at("value for", key, value)

    def _exception(self, exceptions: yaml.Node, at: int) -> Iterator[Location]:
        one = _last_before(exceptions.value, at) if isinstance(exceptions, yaml.SequenceNode) else None
        if not isinstance(one, yaml.MappingNode):
            return
        yield self._at("exception", _text(pairs_of(one).get("name")), one)
        key, value = _holding(one, at)
        if key == "values" and value is not None:
            yield self._at("exception values", "", value)
            row = _last_before(value.value, at) if isinstance(value, yaml.SequenceNode) else None
            if row is not None:
                yield self._at("exception value", "", row)


def _last_before(nodes: Sequence[Any], at: int) -> Any:
    """The node that holds the offset, or the one before it."""
    found = None
    for node in nodes:
        if node.start_mark.index > at:
            break
        found = node
    return found


def pairs_of(node: yaml.MappingNode) -> dict[str, yaml.Node]:
    """The values of plain keys; of a key that stands twice, the first."""
    made: dict[str, yaml.Node] = {}
    for key, value in node.value:
        if isinstance(key, yaml.ScalarNode):
            made.setdefault(key.value, value)
    return made


def _holding(node: yaml.MappingNode, at: int) -> tuple[str, yaml.Node | None]:
    """The key whose value holds the offset, and the value; None for a place on a key."""
    before = [pair for pair in node.value if pair[0].start_mark.index <= at]
    if not before or at < before[-1][1].start_mark.index:
        return "", None
    key, value = before[-1]
    return _text(key), value


def _text(node: yaml.Node | None) -> str:
    return node.value if isinstance(node, yaml.ScalarNode) else ""


def _quoted(text: str) -> str:
    text = " ".join(text.split())
    return f'"{text}"' if len(text) <= _NAME_WIDTH else f'"{text[:_NAME_WIDTH]}..."'
