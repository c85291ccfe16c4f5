# SPDX-License-Identifier: Apache-2.0
"""A file of JSON, JSON lines or YAML becomes plain values that know where they were written.

Scalars of YAML stay text (`42` and `yes` are what the field makes of them), except null. Invariant: no text raises
anything but `FileError`, and no more than `MAX_VALUES` values are made of it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml

from ..rules.places import Place, Source

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..rules.places import Where

MAX_VALUES = 1_000_000
_MAX_YAML_VALUES = 100_000  # aliases multiply
_MAX_DEPTH = 50
_TOO_MUCH = "this is nested too deeply, or holds too many values"
_NULLS = frozenset(("", "~", "null", "Null", "NULL"))
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class FileError(Exception):
    """Something in a file cannot be used."""

    def __init__(self, where: Where, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.where, self.message, self.hint = where, message, hint

    def __str__(self) -> str:
        source, place = self.where
        lines = [f"{place.file}:{place.line}:{place.column}: {self.message}"]
        lines += ["    " + line for line in source.snippet(place).splitlines()]
        if self.hint:
            lines.append(f"    {self.hint}")
        return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class Value:
    """`plain`: None, text, number, boolean, list or mapping of Value; `keys`: where the keys of a mapping stand."""

    plain: Any
    where: Where
    keys: dict[str, Where] | None = None

    def bare(self) -> Any:
        """Without places."""
        if isinstance(self.plain, list):
            return [one.bare() for one in self.plain]
        if isinstance(self.plain, dict):
            return {key: one.bare() for key, one in self.plain.items()}
        return self.plain


def beginning(file: str, text: str) -> Where:
    """The place of what is wrong with a file as a whole."""
    return Source(file, text), Place(file, 1, 1)


def documents(file: str, text: str) -> list[Value]:
    """The documents of a file, in order. Raises FileError."""
    source = Source(file, text)
    if source.text.lstrip()[:1] not in ("{", "["):
        return _Yaml(source).read()
    try:
        return _json(source)
    except FileError as error:
        problem = error
    try:
        return _Yaml(source).read()
    except FileError:
        raise problem from None


# JSON


def _json(source: Source) -> list[Value]:
    """One JSON value, or one a line. Raises FileError.

    Lines after the first that are no objects are left out: a log, and the summary with which the agent ends.
    """
    try:
        return [_placed(json.loads(source.text), (source, source.place(0)))]
    except RecursionError:
        raise FileError((source, source.place(0)), "this is nested too deeply") from None
    except ValueError as error:
        whole = _bad(source, 0, error)
    found: list[Value] = []
    at = 0
    for line in source.text.split("\n"):
        if line.strip() and (not found or line.lstrip().startswith("{")):
            try:
                found.append(_placed(json.loads(line), (source, source.place(at))))
            except (ValueError, RecursionError) as error:
                raise (_bad(source, at, error) if found else whole) from None
        at += len(line) + 1
    return found


def _bad(source: Source, start: int, error: Exception) -> FileError:
    where = source, source.place(start + getattr(error, "pos", 0))
    message = f"this is no JSON: {getattr(error, 'msg', error)}"
    return FileError(where, message, "a file holds one value, or one a line")


def _placed(plain: Any, where: Where) -> Value:
    """All of a JSON text has the place where it begins."""
    budget = iter(range(MAX_VALUES))

    def made(one: Any, depth: int) -> Value:
        if depth > _MAX_DEPTH or next(budget, None) is None:
            raise FileError(where, _TOO_MUCH)
        if isinstance(one, dict):
            return Value({str(key): made(item, depth + 1) for key, item in one.items()}, where)
        if isinstance(one, list):
            return Value([made(item, depth + 1) for item in one], where)
        return Value(one, where)

    return made(plain, 0)


# YAML


class _Yaml:
    def __init__(self, source: Source) -> None:
        self.source = source
        self.count = 0

    def read(self) -> list[Value]:
        return [self._value(node, 0) for node in self._nodes() if not _is_null(node)]

    def _nodes(self) -> Iterator[yaml.Node]:
        try:
            yield from (node for node in yaml.compose_all(self.source.text, Loader=_LOADER) if node is not None)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            where = self.source, self.source.place(mark.index if mark else 0)
            message = error.problem or error.context or "not YAML"
            raise FileError(where, f"this is no YAML: {message}", "check indentation, quotes and colons") from None
        except (yaml.YAMLError, UnicodeError, RecursionError, ValueError) as error:
            where = self.source, Place(self.source.file, 1, 1)
            raise FileError(where, f"this is no YAML: {str(error).splitlines()[0] if str(error) else ''}") from None

    def _where(self, node: yaml.Node) -> Where:
        return self.source, self.source.place(node.start_mark.index)

    def _value(self, node: yaml.Node, depth: int) -> Value:
        where = self._where(node)
        self.count += 1
        if depth > _MAX_DEPTH or self.count > _MAX_YAML_VALUES:
            raise FileError(where, _TOO_MUCH, "look at the use of aliases")
        if isinstance(node, yaml.ScalarNode):
            return Value(None if _is_null(node) else node.value, where)
        if isinstance(node, yaml.SequenceNode):
            return Value([self._value(child, depth + 1) for child in node.value], where)
        made: dict[str, Value] = {}
        keys: dict[str, Where] = {}
        for key, child in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise FileError(self._where(key), "a key is a plain word")
            if key.value in made:
                raise FileError(self._where(key), f"'{key.value}' stands here for the second time", "take one out")
            made[key.value] = self._value(child, depth + 1)
            keys[key.value] = self._where(key)
        return Value(made, where, keys)


def _is_null(node: yaml.Node) -> bool:
    return isinstance(node, yaml.ScalarNode) and not node.style and node.value in _NULLS
