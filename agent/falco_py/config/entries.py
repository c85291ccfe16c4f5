# SPDX-License-Identifier: Apache-2.0
"""Keys whose values have a form of their own: `append_output`, `rules`, `static_fields`, `plugins`.

Invariant: an entry that cannot be understood is a problem with its place, and a key in it that nobody knows a warning;
what is returned beside them is complete.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from .model import AppendOutput, Match, Selection
from .problem import nearest
from .reader import strange, twice
from .tree import Mapping, Node, Scalar
from .values import WrongError, boolean, found, is_null, items

if TYPE_CHECKING:
    from .reader import Reader

_NAME: Final = re.compile(r"[a-zA-Z0-9_]+")
_SELECT: Final = "For example: - disable: {rule: Terminal*}, or - enable: {tag: network}"
_APPEND: Final = ("match", "extra_output", "extra_fields", "suggested_output")
_MATCH: Final = ("rule", "source", "tags")
_PLUGIN: Final = ("name", "library_path", "init_config", "open_params")
_BUILT_IN: Final = {
    "container": "the fields container.* and k8s.* are built in",
    "k8smeta": "the fields k8smeta.* are built in",
    "k8saudit": "the fields ka.* are built in and rules of source k8s_audit are checked, but this build receives no "
    "audit events",
    "json": "the fields json.* and jevt.* are built in",
}
"""What stands in for a plugin."""


def static_fields(reader: Reader) -> tuple[tuple[str, str], ...]:
    node = reader.nodes.get("static_fields")
    if node is None or not items(node):
        return ()
    if not isinstance(node, Mapping):
        reader.problem(node, f"static_fields: expected keys with values, found {found(node)}")
        return ()
    reader.warnings += twice(node, "static_fields.")
    made: list[tuple[str, str]] = []
    for name, value in node.entries.items():
        if not _NAME.fullmatch(name):
            reader.problem(
                value, f'static_fields: "{name}" cannot be the name of a field', "Use letters, digits and _."
            )
        elif not isinstance(value, Scalar):
            reader.problem(value, f"static_fields.{name}: expected text, found {found(value)}")
        else:
            made.append((name, value.text))
    return tuple(made)


def selections(reader: Reader) -> tuple[Selection, ...]:
    """`rules`: a list of {enable: {rule: PATTERN}} and the like."""
    made: list[Selection] = []
    for item in items(reader.nodes.get("rules")):
        entries = list(item.entries.items()) if isinstance(item, Mapping) else []
        strangers = [word for word, _ in entries if word not in ("enable", "disable")]
        if not isinstance(item, Mapping) or not entries or strangers:
            what = f'"{strangers[0]}"' if strangers else found(item)
            reader.problem(item, f"rules: expected entries with enable or disable, found {what}", _SELECT)
            continue
        reader.warnings += twice(item, "rules: ")
        for word, which in entries:
            inner = which.entries if isinstance(which, Mapping) else {}
            name, value = next(iter(inner.items()), ("", which))
            if len(inner) != 1 or name not in ("rule", "tag") or not isinstance(value, Scalar):
                reader.problem(which, f"rules: {word}: expected rule or tag with a text", _SELECT)
                continue
            if isinstance(which, Mapping):
                reader.warnings += twice(which, f"rules: {word}.")
            one = {name: value.text}
            made.append(Selection(word == "enable", rule=one.get("rule"), tag=one.get("tag")))
    return tuple(made)


def append_output(reader: Reader) -> tuple[AppendOutput, ...]:
    made: list[AppendOutput] = []
    for item in items(reader.nodes.get("append_output")):
        if not isinstance(item, Mapping):
            reader.problem(item, f"append_output: expected entries with keys, found {found(item)}")
            continue
        reader.warnings += strange(item, "append_output", _APPEND)
        made.append(
            AppendOutput(
                _match(reader, item.entries.get("match")),
                _text(reader, item, "append_output", "extra_output") or "",
                _extra_fields(reader, item.entries.get("extra_fields")),
                _flag(reader, item, "append_output", "suggested_output"),
            )
        )
    return tuple(made)


def _match(reader: Reader, node: Node | None) -> Match:
    where = "append_output.match"
    if node is None or is_null(node):
        return Match()
    if not isinstance(node, Mapping):
        reader.problem(node, f"{where}: expected rule, source or tags, found {found(node)}")
        return Match()
    reader.warnings += strange(node, where, _MATCH)
    tags: list[str] = []
    for tag in items(node.entries.get("tags")):
        if isinstance(tag, Scalar):
            tags.append(tag.text)
        else:
            reader.problem(tag, f"{where}.tags: expected a list of texts, found {found(tag)}")
    return Match(_text(reader, node, where, "rule"), _text(reader, node, where, "source"), frozenset(tags))


def _extra_fields(reader: Reader, node: Node | None) -> tuple[tuple[str, str | None], ...]:
    made: list[tuple[str, str | None]] = []
    for item in items(node):
        if isinstance(item, Scalar):
            made.append((item.text, None))
            continue
        for name, value in item.entries.items() if isinstance(item, Mapping) else [("", item)]:
            if isinstance(value, Scalar):
                made.append((name, value.text))
            else:
                reader.problem(
                    value,
                    f"append_output.extra_fields: expected the name of a field or name: format, found {found(value)}",
                )
    return tuple(made)


def plugins(reader: Reader) -> None:
    """Nothing is loaded: what would be, is told once for each, with what stands in for it."""
    known: dict[str, Node] = {}
    for item in items(reader.nodes.get("plugins")):
        if not isinstance(item, Mapping):
            reader.problem(item, f"plugins: expected entries with name and library_path, found {found(item)}")
            continue
        reader.warnings += strange(item, "plugins", _PLUGIN)
        if is_null(item.entries.get("name")):
            reader.problem(
                item, "plugins: an entry has no name", "For example: - {name: json, library_path: libjson.so}"
            )
        for key in ("library_path", "open_params"):
            _text(reader, item, "plugins", key)
        name = _text(reader, item, "plugins", "name")
        if name is not None:
            known.setdefault(name, item)
    wanted = known
    if "load_plugins" in reader.nodes:
        wanted = {node.text: node for node in items(reader.nodes["load_plugins"]) if isinstance(node, Scalar)}
    for name, node in wanted.items():
        if name in _BUILT_IN:
            reader.notices.append(f"{node.place}: plugin {name} is not loaded; {_BUILT_IN[name]}")
        elif name in known:
            reader.warnings.append(
                f"{node.place}: plugin {name} is not loaded: this agent loads no plugins, and has nothing in place of "
                "this one; its fields and events are missing"
            )
        else:
            like = nearest(name, {*known, *_BUILT_IN})
            message = f"Cannot load plugin '{name}': plugin config not found for given name"
            reader.problem(node, message, f"Did you mean {like}?" if like else "Take it out of load_plugins.")


def _text(reader: Reader, node: Mapping, where: str, name: str) -> str | None:
    """None when it is not given, or no text, which is told."""
    value = node.entries.get(name)
    if value is None or isinstance(value, Scalar):
        return None if value is None or value.is_null else value.text
    reader.problem(value, f"{where}: {name}: expected text, found {found(value)}")
    return None


def _flag(reader: Reader, node: Mapping, where: str, name: str) -> bool:
    value = node.entries.get(name)
    if value is None or is_null(value):
        return False
    try:
        return boolean(value)
    except WrongError as error:
        reader.problem(value, f"{where}: {name}: expected {error.expected}, found {found(value)}")
        return False
