# SPDX-License-Identifier: Apache-2.0
"""A configuration file, the files it names and `-o` overrides become one `Config`.

Later wins: the file, then `config_files` in order, then overrides. Invariant: raises nothing but `ConfigError`,
which holds every problem found; a value is never replaced by a default because it could not be understood.
"""

from __future__ import annotations

import math
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

from ..log import Level
from .keys import KEYS, LOG_LEVELS, PRIORITIES, SECTIONS, Key, Kind, Value
from .model import AppendOutput, Config, Drops, Match, Selection
from .problem import ConfigError, Place, Problem, nearest
from .tree import Mapping, Node, Scalar, Sequence, parse, steps, with_value

if TYPE_CHECKING:
    from collections.abc import Iterable

DEFAULT_FILE: Final = "/etc/falco/falco.yaml"
_TRUE: Final = frozenset({"true", "yes", "on", "y"})
_FALSE: Final = frozenset({"false", "no", "off", "n"})
_NAME: Final = re.compile(r"[a-zA-Z0-9_]+")
_SELECT: Final = "For example: - disable: {rule: Terminal*}, or - enable: {tag: network}"
_STRATEGIES: Final = ("append", "override", "add-only")


def load(path: str | None, overrides: Iterable[str] = ()) -> Config:
    """The configuration of `path` (None: the built-in one) with `overrides`, each `key.sub[0]=value`."""
    files: list[str] = []
    root = Mapping({}, Place("falco.yaml"))
    if path is not None:
        root = _read(path)
        files.append(path)
    edits = [_edit(override) for override in overrides]
    # As in Falco, an override of config_files counts before the files are included, all others after.
    root = _apply(root, [edit for edit in edits if edit[1][0] == "config_files"])
    included = root.entries.get("config_files")
    if included is not None:
        root, more = _include(root, included, path)
        files += more
    root = _apply(root, [edit for edit in edits if edit[1][0] != "config_files"])
    return _Reader(root, tuple(files)).config()


def _read(path: str) -> Mapping:
    try:
        text = Path(path).read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError([Problem(Place(path), f"not UTF-8 text: byte {error.start} cannot be read")]) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        hint = "Name a file that exists with -c." if isinstance(error, FileNotFoundError) else ""
        raise ConfigError([Problem(Place(path), f"cannot read the configuration file: {reason}", hint)]) from None
    node = parse(text, path)
    if not isinstance(node, Mapping):
        if isinstance(node, Scalar) and node.is_null:
            return Mapping({}, node.place)
        message = f"the file must hold keys with values, not {_found(node)}"
        raise ConfigError([Problem(node.place, message, snippet=node.snippet)])
    return node


_Edit = tuple[str, list[str | int | None], Node]


def _edit(override: str) -> _Edit:
    place = Place(f"-o {override}")
    path, separator, text = override.partition("=")
    if not separator:
        hint = "For example: -o json_output=true"
        raise ConfigError([Problem(place, "the form must be key=value or key.subkey=value", hint)])
    try:
        found = steps(path.strip())
        if not isinstance(found[0], str):
            raise ValueError("a key must stand first")
    except ValueError as error:
        raise ConfigError([Problem(place, f"{error} in {path!r}")]) from None
    try:
        value = parse(text, place.file, placed=False)
    except ConfigError as error:
        raise ConfigError([Problem(place, p.message, p.hint, p.snippet) for p in error.problems]) from None
    if isinstance(value, Mapping) and not value.entries:  # no text at all
        value = Scalar("", place)
    return override, found, value


def _apply(root: Mapping, edits: Iterable[_Edit]) -> Mapping:
    for override, path, value in edits:
        try:
            root = cast("Mapping", with_value(root, path, value))
        except ValueError as error:
            raise ConfigError([Problem(Place(f"-o {override}"), str(error))]) from None
    return root


def _include(root: Mapping, node: Node, main: str | None) -> tuple[Mapping, list[str]]:
    """`root` with the files of `config_files` merged in, and their names."""
    files: list[str] = []
    for entry in _items(node):
        strategy = "append"
        path_node: Node | None = entry
        if isinstance(entry, Mapping):
            path_node = entry.entries.get("path")
            strategy_node = entry.entries.get("strategy")
            if strategy_node is not None:
                strategy = strategy_node.text if isinstance(strategy_node, Scalar) else ""
                if strategy not in _STRATEGIES:
                    message = f"strategy must be one of {', '.join(_STRATEGIES)}"
                    raise ConfigError([Problem(strategy_node.place, message, snippet=strategy_node.snippet)])
        if not isinstance(path_node, Scalar):
            message = "config_files takes paths, or entries with path and strategy"
            raise ConfigError([Problem(entry.place, message, snippet=entry.snippet)])
        for path in yaml_files(path_node.text):
            if main is not None and os.path.abspath(path) == os.path.abspath(main):
                raise ConfigError([Problem(path_node.place, "the file includes itself", snippet=path_node.snippet)])
            more = _read(path)
            if "config_files" in more.entries:
                raise ConfigError([Problem(more.keys["config_files"], "an included file cannot include others")])
            root = _merge(root, more, strategy)
            files.append(path)
    return root, files


def _merge(root: Mapping, more: Mapping, strategy: str) -> Mapping:
    """`more` over `root`, by top-level keys."""
    entries, keys = dict(root.entries), dict(root.keys)
    for name, node in more.entries.items():
        old = entries.get(name)
        if strategy == "add-only" and old is not None:
            continue
        if strategy == "append" and isinstance(old, Sequence) and isinstance(node, Sequence):
            entries[name] = Sequence(old.items + node.items, old.place, old.snippet)
            continue
        entries[name], keys[name] = node, more.keys[name]
    return Mapping(entries, root.place, keys, root.duplicates + more.duplicates)


def yaml_files(path: str) -> list[str]:
    """`path` itself when it is a file, its .yaml and .yml files by name when a directory, nothing when missing."""
    if os.path.isdir(path):
        try:
            names = sorted(os.listdir(path))
        except OSError as error:
            raise ConfigError([Problem(Place(path), f"cannot read the directory: {error.strerror}")]) from None
        found = (os.path.join(path, name) for name in names if name.endswith((".yaml", ".yml")))
        return [name for name in found if os.path.isfile(name)]
    return [path] if os.path.exists(path) else []


def _items(node: Node) -> tuple[Node, ...]:
    if isinstance(node, Sequence):
        return node.items
    if isinstance(node, Scalar) and node.is_null:
        return ()
    return (node,)


def _found(node: Node) -> str:
    if isinstance(node, Scalar):
        text = node.text if len(node.text) <= 60 else node.text[:57] + "..."
        return f'"{text}"'
    return "a list" if isinstance(node, Sequence) else "keys with values"


class _Reader:
    """Types the values of a merged tree by the key table, and gathers problems, warnings and notices."""

    def __init__(self, root: Mapping, files: tuple[str, ...]) -> None:
        self.root = root
        self.files = files
        self.problems: list[Problem] = []
        self.warnings: list[str] = []
        self.notices: list[str] = []
        self.values: dict[str, Value] = {}
        self.nodes: dict[str, Node] = {}

    def config(self) -> Config:
        self._section(self.root, "")
        priority = self._priority()
        level = LOG_LEVELS.index(cast("str", self._value("log_level")))
        rules_files = self._rules_files()
        append_output = self._append_output()
        static_fields = self._static_fields()
        rules = self._selections()
        drops = self._drops()
        if not self.problems and not self._value("stdout_output.enabled"):
            place = self.nodes["stdout_output.enabled"].place
            hint = "Set stdout_output.enabled to true."
            message = "No output configured, please make sure at least one output is configured and enabled."
            self.problems.append(Problem(place, message, hint))
        if self.problems:
            raise ConfigError(self.problems)
        return Config(
            files=self.files,
            rules_files=rules_files,
            rule_matching=cast("str", self._value("rule_matching")),
            capture_enabled=bool(self._value("capture.enabled")),
            capture_mode=cast("str", self._value("capture.mode")),
            priority=priority,
            json_output=bool(self._value("json_output")),
            json_include_output_property=bool(self._value("json_include_output_property")),
            json_include_message_property=bool(self._value("json_include_message_property")),
            json_include_output_fields_property=bool(self._value("json_include_output_fields_property")),
            json_include_tags_property=bool(self._value("json_include_tags_property")),
            time_format_iso_8601=bool(self._value("time_format_iso_8601")),
            buffered_outputs=bool(self._value("buffered_outputs")),
            stdout_output_enabled=True,
            drops=drops,
            cpu_limit_percent=self._number("engine.falco_py.cpu_limit_percent"),
            log_stderr=bool(self._value("log_stderr")),
            log_level=Level(level),
            append_output=append_output,
            static_fields=static_fields,
            rules=rules,
            warnings=tuple(self.warnings),
            notices=tuple(self.notices),
        )

    def _value(self, name: str) -> Value:
        return self.values.get(name, KEYS[name].default)

    def _problem(self, node: Node, message: str, hint: str = "") -> None:
        self.problems.append(Problem(node.place, message, hint, node.snippet))

    def _section(self, section: Mapping, prefix: str) -> None:
        for name, place in section.duplicates:
            self.warnings.append(f'{place}: "{prefix}{name}" is given twice; the first one counts')
        for name, node in section.entries.items():
            full = prefix + name
            if full in KEYS:
                self._key(KEYS[full], node, section.keys.get(name, node.place))
            elif full in SECTIONS:
                if isinstance(node, Mapping):
                    self._section(node, full + ".")
                elif not (isinstance(node, Scalar) and node.is_null):
                    self._problem(node, f"{full}: expected keys with values, found {_found(node)}")
            else:
                self._unknown(full, section.keys.get(name, node.place))

    def _unknown(self, full: str, place: Place) -> None:
        like = nearest(full, KEYS.keys() | SECTIONS)
        if like is None:
            last = full.rpartition(".")[2]
            like = next((name for name in KEYS if name.rpartition(".")[2] == last), None)
        question = f'; did you mean "{like}"?' if like else ""
        self.warnings.append(f'{place}: unknown key "{full}", ignored{question}')

    def _key(self, key: Key, node: Node, place: Place) -> None:
        if isinstance(node, Scalar) and node.is_null:
            return  # as if the key were not there
        self.nodes[key.name] = node
        try:
            value = _typed(key, node)
        except ValueError as error:
            self._problem(node, f"{key.name}: expected {error}, found {_found(node)}")
            return
        self.values[key.name] = value
        if value in key.refuse:
            self._problem(node, f"{key.name}: {_text(value)} is not supported yet by this build", key.remedy)
        elif key.instead and value not in key.quiet:
            self.notices.append(f"{place}: {key.name}: not supported yet by this build; {key.instead}")

    def _priority(self) -> int:
        text = cast("str", self._value("priority"))
        names = [name.lower() for name in PRIORITIES]
        wanted = "informational" if text.lower() == "info" else text.lower()
        if wanted in names:
            return names.index(wanted)
        like = nearest(wanted, names)
        hint = f"Did you mean {like}?" if like else ""
        self._problem(self.nodes["priority"], f'Unknown priority "{text}"--must be one of {", ".join(names)}', hint)
        return 0

    def _rules_files(self) -> tuple[str, ...]:
        old, new = self.values.get("rules_file"), self.values.get("rules_files")
        if old is not None and new is not None:
            hint = "Keep rules_files; rules_file is its older name."
            self._problem(self.nodes["rules_file"], "rules_file and rules_files cannot both be given", hint)
        return cast("tuple[str, ...]", old if old is not None else self._value("rules_files"))

    def _static_fields(self) -> tuple[tuple[str, str], ...]:
        node = self.nodes.get("static_fields")
        if node is None or not _items(node):
            return ()
        if not isinstance(node, Mapping):
            self._problem(node, f"static_fields: expected keys with values, found {_found(node)}")
            return ()
        made: list[tuple[str, str]] = []
        for name, value in node.entries.items():
            if not _NAME.fullmatch(name):
                self._problem(value, f'static_fields: "{name}" cannot be the name of a field',
                              "Use letters, digits and _.")  # fmt: skip
            elif not isinstance(value, Scalar):
                self._problem(value, f"static_fields.{name}: expected text, found {_found(value)}")
            else:
                made.append((name, value.text))
        return tuple(made)

    def _selections(self) -> tuple[Selection, ...]:
        """`rules`: a list of {enable: {rule: PATTERN}} and the like."""
        made: list[Selection] = []
        for item in _items(self.nodes.get("rules", Sequence((), Place("")))):
            entries = list(item.entries.items()) if isinstance(item, Mapping) else []
            if not entries or any(word not in ("enable", "disable") for word, _ in entries):
                self._problem(item, f"rules: expected entries with enable or disable, found {_found(item)}", _SELECT)
                continue
            for word, which in entries:
                inner = which.entries if isinstance(which, Mapping) else {}
                one = next(iter(inner.items()), ("", which))
                name, value = one
                if len(inner) != 1 or name not in ("rule", "tag") or not isinstance(value, Scalar):
                    self._problem(which, f"rules: {word}: expected rule or tag with a text", _SELECT)
                elif name == "rule":
                    made.append(Selection(word == "enable", rule=value.text))
                else:
                    made.append(Selection(word == "enable", tag=value.text))
        return tuple(made)

    def _number(self, name: str) -> float:
        return float(cast("float", self._value(name)))

    def _drops(self) -> Drops:
        actions = cast("tuple[str, ...]", self._value("syscall_event_drops.actions"))
        for before, action in enumerate(actions):
            if action != "ignore" and "ignore" in actions[:before]:  # as in Falco, only in this order
                message = f'syscall event drop action "{action}" does not make sense with the "ignore" action'
                self._problem(self.nodes["syscall_event_drops.actions"], message, "Leave out one of the two.")
                break
        return Drops(
            threshold=self._number("syscall_event_drops.threshold"),
            actions=actions,
            rate=self._number("syscall_event_drops.rate"),
            max_burst=self._number("syscall_event_drops.max_burst"),
            simulate=bool(self._value("syscall_event_drops.simulate_drops")),
        )

    def _append_output(self) -> tuple[AppendOutput, ...]:
        node = self.nodes.get("append_output")
        if node is None:
            return ()
        made: list[AppendOutput] = []
        for item in _items(node):
            if not isinstance(item, Mapping):
                self._problem(item, f"append_output: expected entries with keys, found {_found(item)}")
                continue
            for name, place in item.keys.items():
                if name not in ("match", "extra_output", "extra_fields", "suggested_output"):
                    self.warnings.append(f'{place}: unknown key "{name}" in append_output, ignored')
            made.append(
                AppendOutput(
                    self._match(item.entries.get("match")),
                    self._entry_text(item, "extra_output") or "",
                    self._extra_fields(item.entries.get("extra_fields")),
                    self._entry_bool(item, "suggested_output"),
                )
            )
        return tuple(made)

    def _match(self, node: Node | None) -> Match:
        if node is None or (isinstance(node, Scalar) and node.is_null):
            return Match()
        if not isinstance(node, Mapping):
            self._problem(node, f"append_output.match: expected rule, source or tags, found {_found(node)}")
            return Match()
        tags: list[str] = []
        for tag in _items(node.entries.get("tags", Sequence((), node.place))):
            if isinstance(tag, Scalar):
                tags.append(tag.text)
            else:
                self._problem(tag, f"append_output.match.tags: expected texts, found {_found(tag)}")
        return Match(self._entry_text(node, "rule"), self._entry_text(node, "source"), frozenset(tags))

    def _entry_text(self, node: Mapping, name: str) -> str | None:
        value = node.entries.get(name)
        if value is None or isinstance(value, Scalar):
            return None if value is None or value.is_null else value.text
        self._problem(value, f"append_output: {name}: expected text, found {_found(value)}")
        return None

    def _entry_bool(self, node: Mapping, name: str) -> bool:
        value = node.entries.get(name)
        if value is None or (isinstance(value, Scalar) and value.is_null):
            return False
        try:
            return _bool(value)
        except ValueError as error:
            self._problem(value, f"append_output: {name}: expected {error}, found {_found(value)}")
            return False

    def _extra_fields(self, node: Node | None) -> tuple[tuple[str, str | None], ...]:
        made: list[tuple[str, str | None]] = []
        for item in _items(node) if node is not None else ():
            if isinstance(item, Scalar):
                made.append((item.text, None))
                continue
            entries = item.entries.items() if isinstance(item, Mapping) else [("", item)]
            for name, value in entries:
                if isinstance(value, Scalar):
                    made.append((name, value.text))
                else:
                    self._problem(value, f"append_output.extra_fields: expected text, found {_found(value)}")
        return tuple(made)


def _text(value: Value) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _bool(node: Node) -> bool:
    if isinstance(node, Scalar):
        word = node.text
        # The spellings of YAML 1.1 that Falco's parser takes: true, True and TRUE, not tRUE.
        if word in (word.lower(), word.capitalize(), word.upper()):
            if word.lower() in _TRUE:
                return True
            if word.lower() in _FALSE:
                return False
    raise ValueError(Kind.BOOL.value)


def _typed(key: Key, node: Node) -> Value:
    """The value of `node` for `key`. Raises ValueError saying what was expected."""
    match key.kind:
        case Kind.ANY:
            empty = not node.text if isinstance(node, Scalar) else not _children(node)
            return None if empty else ""
        case Kind.BOOL:
            return _bool(node)
        case Kind.TEXTS:
            texts: list[str] = []
            for item in _items(node):
                if not isinstance(item, Scalar):
                    raise ValueError(Kind.TEXTS.value)
                if key.choices and item.text not in key.choices:
                    raise ValueError(f"some of {', '.join(key.choices)}")
                texts.append(item.text)
            return tuple(texts)
    if not isinstance(node, Scalar):
        raise ValueError(key.kind.value)
    if key.kind is Kind.TEXT:
        if not key.choices:
            return node.text
        for choice in key.choices:
            if node.text.lower() == choice:
                return choice
        raise ValueError(f"one of {', '.join(key.choices)}")
    return _number(key, node.text)


def _number(key: Key, text: str) -> Value:
    wanted = key.kind.value
    if key.at_least is not None:
        wanted += f" from {key.at_least}" + (f" to {key.at_most}" if key.at_most is not None else " up")
    try:
        if not text.isascii() or "_" in text or len(text) > 40:
            raise ValueError
        value: int | float = int(text) if key.kind is Kind.INT else float(text)
    except ValueError:
        raise ValueError(wanted) from None
    too_small = key.at_least is not None and value < key.at_least
    if not math.isfinite(value) or too_small or (key.at_most is not None and value > key.at_most):
        raise ValueError(wanted)
    return value


def _children(node: Mapping | Sequence) -> int:
    return len(node.entries if isinstance(node, Mapping) else node.items)
