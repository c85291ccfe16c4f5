# SPDX-License-Identifier: Apache-2.0
"""The merged tree becomes values by key, with the problems, warnings and notices that it gives rise to.

Invariant: each node of the tree gives a value, a problem, a warning or is without a value; nothing is passed over.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, cast

from .keys import KEYS, SECTIONS, Key, Kind, Value
from .problem import Place, Problem, nearest
from .tree import Mapping, Node, Scalar
from .values import WrongError, found, is_null, shown, typed

if TYPE_CHECKING:
    from collections.abc import Sequence


def strange(node: Mapping, where: str, known: Sequence[str]) -> list[str]:
    """Warnings about keys of an entry that nobody knows, or that stand there twice. `where`: the key it is under."""
    lines = [
        f'{place}: unknown key "{name}" in {where}, ignored{_question(nearest(name, known))}'
        for name, place in node.keys.items()
        if name not in known
    ]
    return lines + twice(node, f"{where}: ")


def twice(node: Mapping, prefix: str) -> list[str]:
    return [f'{place}: "{prefix}{name}" is given twice; the first one counts' for name, place in node.duplicates]


def _question(like: str | None) -> str:
    return f'; did you mean "{like}"?' if like else ""


class Reader:
    """What is asked of it is there from the beginning: `values` of keys that are given, `nodes` where they stand."""

    def __init__(self, root: Mapping, file: str) -> None:
        self.problems: list[Problem] = []
        self.warnings: list[str] = []
        self.notices: list[str] = []
        self.values: dict[str, Value] = {}
        self.nodes: dict[str, Node] = {}
        self._file = file
        self._section(root, "")

    def value(self, name: str) -> Value:
        return self.values.get(name, KEYS[name].default)

    def flag(self, name: str) -> bool:
        return bool(self.value(name))

    def text(self, name: str) -> str:
        return cast("str", self.value(name))

    def texts(self, name: str) -> tuple[str, ...]:
        return cast("tuple[str, ...]", self.value(name))

    def number(self, name: str) -> float:
        return float(cast("float", self.value(name)))

    def whole(self, name: str) -> int:
        return int(cast("int", self.value(name)))

    def of(self, model: Any, section: str, **others: Any) -> Any:
        """`model` made of the keys of `section` that bear its fields' names; `others` are given as they are."""
        prefix = f"{section}." if section else ""
        names = [one.name for one in dataclasses.fields(model) if one.name not in others]
        return model(**{name: self.value(prefix + name) for name in names}, **others)

    def node(self, name: str) -> Node:
        """Where the value of a key stands; the file as a whole when it is not given."""
        return self.nodes.get(name) or Scalar("", Place(self._file))

    def problem(self, node: Node, message: str, hint: str = "") -> None:
        self.problems.append(Problem(node.place, message, hint, node.snippet))

    def wrong(self, name: str, message: str, hint: str = "") -> None:
        """A problem with the value of a key. A line that may hold a secret is not shown."""
        node = self.node(name)
        self.problems.append(Problem(node.place, message, hint, "" if KEYS[name].secret else node.snippet))

    def _section(self, section: Mapping, prefix: str) -> None:
        self.warnings += twice(section, prefix)
        for name, node in section.entries.items():
            full = prefix + name
            if full in KEYS:
                self._key(KEYS[full], node, section.keys.get(name, node.place))
            elif full in SECTIONS:
                if isinstance(node, Mapping):
                    self._section(node, full + ".")
                elif not is_null(node):
                    self.problem(node, f"{full}: expected keys with values, found {found(node)}")
            else:
                self._unknown(full, section.keys.get(name, node.place))

    def _unknown(self, full: str, place: Place) -> None:
        like = nearest(full, KEYS.keys() | SECTIONS)
        if like is None:
            last = full.rpartition(".")[2]
            like = next((name for name in KEYS if name.rpartition(".")[2] == last), None)
        self.warnings.append(f'{place}: unknown key "{full}", ignored{_question(like)}')

    def _key(self, key: Key, node: Node, place: Place) -> None:
        self.nodes[key.name] = node
        if is_null(node):
            return  # as if the key were not there
        if key.kind is Kind.MAP and isinstance(node, Mapping):
            self.warnings += twice(node, f"{key.name}: ")
        try:
            value = typed(key, node)
        except WrongError as error:
            self._mistyped(key, error.node or node, error)
            return
        self.values[key.name] = value
        if value in key.refuse:
            self.problem(node, f"{key.name}: {shown(value)} is not supported by this build", key.remedy)
        elif key.instead and not key.told_by and value != key.default and value not in key.quiet:
            self.notices.append(f"{place}: {key.name}: has no effect; {key.instead}")

    def _mistyped(self, key: Key, node: Node, error: WrongError) -> None:
        what = "" if key.secret else f", found {found(node)}"
        message = error.message or f"{key.name}: expected {error.expected}{what}"
        self.problems.append(Problem(node.place, message, error.hint, "" if key.secret else node.snippet))
