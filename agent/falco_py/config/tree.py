# SPDX-License-Identifier: Apache-2.0
"""YAML text becomes a tree of scalars, sequences and mappings that know their places.

Scalars stay text (Falco types a value by the key that reads it), with environment variables filled in. Trees are
immutable; an override makes a new tree. Invariant: `parse` raises nothing but `ConfigError`, on any text.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, TypeAlias

import yaml

from .problem import ConfigError, Place, Problem, snippet

if TYPE_CHECKING:
    from collections.abc import Mapping as Environment
    from collections.abc import Sequence as Steps

MAX_DEPTH: Final = 64
_LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_NULL: Final = frozenset({"", "~", "null", "Null", "NULL"})
_VARIABLE: Final = re.compile(r"\$\$(\{[^}]*\})|\$\{([^}]*)\}")


@dataclass(frozen=True, slots=True)
class Scalar:
    text: str
    place: Place
    plain: bool = True  # written without quotes
    snippet: str = ""

    @property
    def is_null(self) -> bool:
        return self.plain and self.text in _NULL


@dataclass(frozen=True, slots=True)
class Sequence:
    items: tuple[Node, ...]
    place: Place
    snippet: str = ""


@dataclass(frozen=True, slots=True)
class Mapping:
    entries: dict[str, Node]
    place: Place
    keys: dict[str, Place] = field(default_factory=dict)
    duplicates: tuple[tuple[str, Place], ...] = ()
    snippet: str = ""


Node: TypeAlias = Scalar | Sequence | Mapping


def expand(text: str, environment: Environment[str, str]) -> str:
    """`${NAME}` becomes the variable's value (empty when unset), `$${NAME}` the text `${NAME}`."""
    if "${" not in text:
        return text
    return _VARIABLE.sub(lambda m: "$" + m.group(1) if m.group(1) else environment.get(m.group(2).strip(), ""), text)


def parse(text: str, file: str, *, environment: Environment[str, str] | None = None, placed: bool = True) -> Node:
    """The tree of one YAML document; an empty document is an empty mapping.

    Without `placed` every place is the file as a whole: a value on the command line has no line and column.
    """
    env = os.environ if environment is None else environment
    try:
        root = yaml.compose(text, Loader=_LOADER)
    except yaml.MarkedYAMLError as error:
        raise ConfigError([_bad_yaml(error, text, file)]) from None
    except yaml.reader.ReaderError as error:
        before = text[: error.position] if isinstance(error.position, int) else ""
        line = before.count("\n") + 1
        column = len(before) - (before.rfind("\n") + 1) + 1
        message = f"not valid YAML: a character that YAML does not allow ({error.reason})"
        raise ConfigError(
            [Problem(Place(file, line, column), message, snippet=snippet(text.splitlines(), line, column))]
        ) from None
    except (RecursionError, UnicodeError, ValueError) as error:
        raise ConfigError([Problem(Place(file), f"not valid YAML: {type(error).__name__}")]) from None
    if root is None:
        return Mapping({}, Place(file))
    return _Builder(text if placed else "", file, env, placed).node(root, 0)


def _bad_yaml(error: yaml.MarkedYAMLError, text: str, file: str) -> Problem:
    mark = error.problem_mark or error.context_mark
    line, column = (mark.line + 1, mark.column + 1) if mark is not None else (0, 0)
    told = " ".join(part for part in (error.context, error.problem) if part) or "it cannot be read"
    lines = text.splitlines()
    at = lines[line - 1][column - 1 : column] if 0 < line <= len(lines) else ""
    hint = "A tab cannot indent YAML; use blanks." if at == "\t" else ""
    return Problem(Place(file, line, column), f"not valid YAML: {told}", hint, snippet(lines, line, column))


class _Builder:
    def __init__(self, text: str, file: str, environment: Environment[str, str], placed: bool) -> None:
        self.placed = placed
        self.file = file
        self.environment = environment
        self.lines = text.splitlines()
        self.made: dict[int, Node] = {}  # aliases share one node, so that nesting them cannot multiply the work

    def place(self, node: yaml.Node) -> Place:
        if not self.placed:
            return Place(self.file)
        return Place(self.file, node.start_mark.line + 1, node.start_mark.column + 1)

    def snippet(self, place: Place) -> str:
        return snippet(self.lines, place.line, place.column)

    def node(self, node: yaml.Node, depth: int) -> Node:
        known = self.made.get(id(node))
        if known is not None:
            return known
        place = self.place(node)
        if depth > MAX_DEPTH:
            raise ConfigError([Problem(place, f"nested deeper than {MAX_DEPTH} levels", snippet=self.snippet(place))])
        made: Node
        if isinstance(node, yaml.ScalarNode):
            # PyYAML's C loader gives "" for a plain scalar's style, the Python one None.
            made = Scalar(expand(node.value, self.environment), place, not node.style, self.snippet(place))
        elif isinstance(node, yaml.SequenceNode):
            made = Sequence(tuple(self.node(item, depth + 1) for item in node.value), place, self.snippet(place))
        else:
            made = self.mapping(node, place, depth)
        self.made[id(node)] = made
        return made

    def mapping(self, node: yaml.Node, place: Place, depth: int) -> Mapping:
        entries: dict[str, Node] = {}
        keys: dict[str, Place] = {}
        duplicates: list[tuple[str, Place]] = []
        for key, value in node.value:
            key_place = self.place(key)
            if not isinstance(key, yaml.ScalarNode):
                raise ConfigError([Problem(key_place, "a key must be a word", snippet=self.snippet(key_place))])
            made = self.node(value, depth + 1)
            if key.value in entries:
                duplicates.append((key.value, key_place))
            else:
                entries[key.value] = made
                keys[key.value] = key_place
        return Mapping(entries, place, keys, tuple(duplicates), self.snippet(place))


Step: TypeAlias = str | int | None
"""One step of an override's path: a key, an index, or None to append."""


def steps(path: str) -> list[Step]:
    r"""`a.b[2].c[]` as keys, indexes and None (append); `\.`, `\[` and `\\` stand for the character itself.

    Raises ValueError with the reason.
    """
    found: list[Step] = []
    word = ""
    pending = True  # a key must follow
    index = 0
    while index < len(path):
        char = path[index]
        if char == "\\" and index + 1 < len(path):
            word += path[index + 1]
            index += 2
            continue
        if char == "[":
            if word:
                found.append(word)
                word = ""
            elif pending:
                raise ValueError("a key must stand before [")
            end = path.find("]", index)
            if end < 0:
                raise ValueError("] is missing")
            inner = path[index + 1 : end].strip()
            if inner and not (inner.isascii() and inner.isdigit() and len(inner) < 6):
                raise ValueError(f'"{inner}" is not an index')
            found.append(int(inner) if inner else None)
            pending = False
            index = end + 1
            continue
        if char == ".":
            if word:
                found.append(word)
                word = ""
            elif pending:
                raise ValueError("a key is empty")
            pending = True
        else:
            word += char
        index += 1
    if word:
        found.append(word)
    elif pending:
        raise ValueError("a key is empty")
    return found


def with_value(node: Node | None, path: Steps[Step], value: Node) -> Node:
    """The tree with `value` at `path`; what is missing on the way is made. Raises ValueError with the reason."""
    if not path:
        return value
    step, rest = path[0], path[1:]
    if isinstance(step, str):
        if node is None or (isinstance(node, Scalar) and node.is_null):
            node = Mapping({}, value.place)
        if not isinstance(node, Mapping):
            raise ValueError(f'"{step}" is looked for in a value that has no keys')
        entries = {**node.entries, step: with_value(node.entries.get(step), rest, value)}
        return replace(node, entries=entries, keys={**node.keys, step: value.place})
    if node is None or (isinstance(node, Scalar) and node.is_null):
        node = Sequence((), value.place)
    if not isinstance(node, Sequence):
        raise ValueError("[] is used on a value that is not a list")
    items = list(node.items)
    if step is None or step == len(items):
        items.append(with_value(None, rest, value))
    elif step < len(items):
        items[step] = with_value(items[step], rest, value)
    else:
        raise ValueError(f"the list has {len(items)} entries, so there is no [{step}]")
    return replace(node, items=tuple(items))
