# SPDX-License-Identifier: Apache-2.0
"""The YAML text of one file becomes rule items with places.

Invariant: no text raises, and every key of an item is looked at; what is wrong is a problem in the collection given.
A list or macro with a mistake is left out (its name is kept in `broken`, so that nothing complains about a name the
user did write); of a rule only the key with the mistake is.
"""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import yaml

from .items import (
    EXCEPTION_KEYS,
    KEYS,
    KINDS,
    OVERRIDABLE,
    PLUGIN_KEYS,
    RULE_FLAGS,
    RULE_TEXTS,
    EngineVersion,
    ExceptionItem,
    ExceptionValue,
    Item,
    Items,
    ListItem,
    MacroItem,
    PluginRequirement,
    PluginVersions,
    RuleItem,
)
from .locations import pairs_of
from .places import Place, Scalar, Source, Where
from .problems import Problems, nearest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_MAX_SCALARS = 2_000_000  # scalars read from one file, each use of an alias counted
_TRUE = frozenset(w for word in ("true", "yes", "on", "y") for w in (word, word.title(), word.upper()))
_FALSE = frozenset(w for word in ("false", "no", "off", "n") for w in (word, word.title(), word.upper()))
_NULL = frozenset(("", "~", "null", "Null", "NULL"))
_Result = TypeVar("_Result")


class _ItemError(Exception):
    """Leaves the item being read; the problem is reported at `where`."""

    def __init__(self, where: Where, message: str, hint: str = "", code: str = "LOAD_ERR_YAML_VALIDATE") -> None:
        self.where, self.message, self.hint, self.code = where, message, hint, code


class _Reader:
    def __init__(self, source: Source, problems: Problems) -> None:
        self.source = source
        self.problems = problems
        self.scalars = 0
        self.result = Items()
        self._here = ("", "")  # the item being read

    def read(self) -> Items:
        for document in self._documents():
            if isinstance(document, yaml.ScalarNode):
                if not _is_null(document):
                    self._report(
                        _ItemError(
                            self._where(document),
                            "Rules content is not yaml",
                            "a rules file is a sequence of items such as '- rule: name'",
                        )
                    )
                continue
            if not isinstance(document, yaml.SequenceNode):
                self._report(
                    _ItemError(
                        self._where(document), "Rules content is not yaml array of objects", "begin each item with '- '"
                    )
                )
                continue
            for node in document.value:
                self._item(node)
        return self.result

    def _documents(self) -> Iterator[yaml.Node]:
        try:
            for document in yaml.compose_all(self.source.text, Loader=_LOADER):
                if document is not None:
                    yield document
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            place = self.source.place(mark.index if mark else 0)
            message = error.problem or error.context or "not YAML"
            if error.context and error.problem:
                message = f"{message} ({error.context})"
            self.problems.add(
                "error",
                "LOAD_ERR_YAML_PARSE",
                (self.source, place),
                message,
                "quote a value that begins with this character"
                if self.source.text[place.offset : place.offset + 1] in ("%", "@", "`")
                else "check indentation, quotes and colons here and on the line before",
            )
        except yaml.reader.ReaderError as error:
            index = error.position if isinstance(error.position, int) else 0
            self.problems.add(
                "error",
                "LOAD_ERR_YAML_PARSE",
                (self.source, self.source.place(index)),
                f"unreadable character: {error.reason}",
            )
        except UnicodeEncodeError as error:
            self.problems.add(
                "error",
                "LOAD_ERR_YAML_PARSE",
                (self.source, self.source.place(error.start)),
                f"the byte 0x{ord(error.object[error.start]) & 0xFF:02x} is not UTF-8",
                "save the file as UTF-8",
            )
        except (yaml.YAMLError, UnicodeError, RecursionError, ValueError) as error:
            self.problems.add(
                "error",
                "LOAD_ERR_YAML_PARSE",
                (self.source, Place(self.source.file, 1, 1)),
                str(error).splitlines()[0] if str(error) else "not YAML",
            )

    def _report(self, wrong: _ItemError) -> None:
        self.problems.add("error", wrong.code, wrong.where, wrong.message, wrong.hint, self._here)

    def _tried(self, read: Callable[[], _Result]) -> _Result | None:
        """What `read` gives, or None when it found a mistake, which is told."""
        try:
            return read()
        except _ItemError as wrong:
            self._report(wrong)
            return None

    def _where(self, node: yaml.Node) -> Where:
        return self.source, self.source.place(node.start_mark.index)

    def _item(self, node: yaml.Node) -> None:
        self._here = ("", "")
        if _is_null(node):
            return
        if not isinstance(node, yaml.MappingNode):
            self._report(
                _ItemError(
                    self._where(node),
                    "Unexpected element type. Each element should be a yaml associative array.",
                    "an item looks like '- rule: name'",
                )
            )
            return
        keys: dict[str, tuple[yaml.Node, yaml.Node]] = {}
        for key, value in node.value:
            if isinstance(key, yaml.ScalarNode):
                keys.setdefault(key.value, (key, value))
        kind = next((k for k in KINDS if k in keys), None)
        if kind is None:
            first = next(iter(keys), "")
            self.problems.add(
                "warning",
                "LOAD_UNKNOWN_ITEM",
                self._where(node),
                f"Unknown top level item '{first}'",
                nearest(first, KINDS),
            )
            return
        name_node = keys[kind][1]
        name = name_node.value if isinstance(name_node, yaml.ScalarNode) and kind in ("list", "macro", "rule") else ""
        self._here = kind, name
        self._unknown_keys(node, KEYS[kind], kind)
        values = {key: value for key, (_, value) in keys.items()}
        make = {
            "required_engine_version": self._engine,
            "required_plugin_versions": self._plugins,
            "list": self._list,
            "macro": self._macro,
            "rule": self._rule,
        }[kind]
        made = self._tried(lambda: make(node, values))
        if made is not None:
            self.result.items.append(made)
        elif name:
            self.result.broken.add((kind, name))

    def _unknown_keys(self, node: yaml.MappingNode, known: Sequence[str], what: str) -> None:
        told: set[str] = set()
        for key_node, _ in node.value:
            if not isinstance(key_node, yaml.ScalarNode) or key_node.value in (*known, *told):
                continue
            key = key_node.value
            told.add(key)
            self.problems.add(
                "warning",
                "LOAD_UNKNOWN_KEY",
                self._where(key_node),
                f"Unknown key '{key}' in {what}",
                nearest(key, known),
                self._here,
            )

    # Values

    def _scalar(self, node: yaml.Node, key: str = "") -> Scalar:
        self.scalars += 1
        if self.scalars > _MAX_SCALARS:
            raise _ItemError(
                self._where(node), f"more than {_MAX_SCALARS} values in one file", "look at the use of aliases"
            )
        if not isinstance(node, yaml.ScalarNode):
            raise _ItemError(self._where(node), f"Value is not a scalar value{f' (key {key!r})' if key else ''}")
        return Scalar(self.source, node.value, node.start_mark.index, node.end_mark.index, node.style or None)

    def _text(
        self, node: yaml.MappingNode, values: Mapping[str, yaml.Node], key: str, empty_ok: bool = False
    ) -> Scalar:
        """The non-empty scalar under `key`."""
        if key not in values:
            raise _ItemError(self._where(node), f"Item has no mapping for key '{key}'", f"add '{key}: ...'")
        scalar = self._scalar(values[key], key)
        if not scalar.value or _is_null(values[key]):
            if empty_ok:
                return Scalar(self.source, "", scalar.start, scalar.end, scalar.style)
            raise _ItemError(
                scalar.where, f"Mapping for key '{key}' is empty" if scalar.style is None else "Value must be non-empty"
            )
        return scalar

    def _bool(self, values: Mapping[str, yaml.Node], key: str) -> bool | None:
        if key not in values:
            return None
        scalar = self._scalar(values[key], key)
        if scalar.value in _TRUE:
            return True
        if scalar.value in _FALSE:
            return False
        raise _ItemError(
            scalar.where, f"Can't decode YAML scalar value '{scalar.value}' of key '{key}'", "use true or false"
        )

    def _sequence(self, node: yaml.Node, each: Callable[[yaml.Node], _Result]) -> tuple[_Result, ...]:
        if not isinstance(node, yaml.SequenceNode):
            raise _ItemError(self._where(node), "Value is not a sequence", "write it as [a, b] or one '- a' a line")
        wrong: list[_ItemError] = []
        made: list[_Result] = []
        for child in node.value:
            try:
                made.append(each(child))
            except _ItemError as error:
                wrong.append(error)
        for one in wrong[:-1]:
            self._report(one)
        if wrong:
            raise wrong[-1]
        return tuple(made)

    def _element(self, node: yaml.Node) -> Scalar:
        if not isinstance(node, yaml.ScalarNode) or _is_null(node):
            raise _ItemError(self._where(node), "sequence value is not scalar")
        return self._scalar(node)

    def _override(self, kind: str, values: Mapping[str, yaml.Node]) -> dict[str, str] | None:
        """key -> `append` or `replace`; empty when there is no override, None when there is a mistake in it."""
        block = values.get("override")
        if not isinstance(block, yaml.MappingNode):
            return {}
        result: dict[str, str] = {}
        fine = True
        for key_node, value_node in block.value:
            pair = self._tried(partial(self._operation, kind, key_node, value_node, values))
            if pair is None:
                fine = False
            else:
                result.setdefault(*pair)
        written = {key.value for key, _ in block.value if isinstance(key, yaml.ScalarNode)}
        fine = self._tried(partial(self._all_named, kind, block, written, values)) is not None and fine
        return result if fine else None

    def _operation(
        self, kind: str, key_node: yaml.Node, value_node: yaml.Node, values: Mapping[str, yaml.Node]
    ) -> tuple[str, str]:
        allowed = OVERRIDABLE[kind]
        key, scalar = self._scalar(key_node).value, self._scalar(value_node)
        operation = scalar.value
        if operation not in allowed:
            raise _ItemError(
                scalar.where,
                f"Invalid override operation for key '{key}': '{operation}'. Allowed values are: append, replace",
                nearest(operation, allowed),
            )
        if key not in allowed[operation]:
            verb = "appended to" if operation == "append" else "replaced"
            instead = ", use 'replace' instead" if operation == "append" and key in allowed["replace"] else ""
            raise _ItemError(
                self._where(key_node), f"Key '{key}' cannot be {verb}{instead}", nearest(key, allowed[operation])
            )
        if key not in values:
            raise _ItemError(
                self._where(key_node),
                f"An {operation} override for '{key}' was specified but '{key}' is not defined",
                f"add '{key}: ...' to the item, or take it out of 'override'",
            )
        return key, operation

    def _all_named(self, kind: str, block: yaml.Node, named: set[str], values: Mapping[str, yaml.Node]) -> bool:
        """Are all keys that may be overridden named under `override`? Raises _ItemError for the last that is not."""
        if not named:
            return True
        allowed = OVERRIDABLE[kind]
        wrong = []
        if self._tried(lambda: self._bool(values, "append")):
            wrong.append(
                _ItemError(
                    self._where(block),
                    "Keys 'override' and 'append: true' cannot be used together. "
                    "Add an 'append' entry for the key under 'override' instead.",
                )
            )
        for key in values:
            if key in allowed["replace"] and key not in named:
                also = f" or '{key}: append'" if key in allowed["append"] else ""
                wrong.append(
                    _ItemError(
                        self._where(values[key]),
                        f"Unexpected key '{key}': no corresponding entry under 'override' is defined.",
                        f"add '{key}: replace'{also} under 'override'",
                    )
                )
        for one in wrong[:-1]:
            self._report(one)
        if wrong:
            raise wrong[-1]
        return True

    # Items

    def _engine(self, node: yaml.MappingNode, values: Mapping[str, yaml.Node]) -> Item:
        return EngineVersion(self._text(node, values, "required_engine_version"))

    def _plugins(self, node: yaml.MappingNode, values: Mapping[str, yaml.Node]) -> Item:
        def pair(entry: yaml.Node) -> tuple[Scalar, Scalar]:
            if not isinstance(entry, yaml.MappingNode):
                raise _ItemError(self._where(entry), "Plugin version must be a mapping of name and version")
            keys = pairs_of(entry)
            self._unknown_keys(entry, PLUGIN_KEYS, "required_plugin_versions")
            name, version = self._text(entry, keys, "name"), self._text(entry, keys, "version")
            if not re.fullmatch(r"\d+\.\d+\.\d+(?:[-+].*)?", version.value):
                raise _ItemError(
                    version.where,
                    f"Invalid required version '{version.value}' for plugin '{name.value}'",
                    'versions look like "1.2.3"',
                )
            return name, version

        def requirement(entry: yaml.Node) -> PluginRequirement:
            pairs = [pair(entry)]
            alternatives = pairs_of(entry).get("alternatives") if isinstance(entry, yaml.MappingNode) else None
            if alternatives is not None:
                pairs += self._sequence(alternatives, pair)
            seen: set[str] = set()
            for name, _ in pairs:
                if name.value in seen:
                    raise _ItemError(
                        name.where, f"Defined multiple alternative version requirements for plugin '{name.value}'"
                    )
                seen.add(name.value)
            return PluginRequirement(tuple(pairs))

        value = values["required_plugin_versions"]
        if not isinstance(value, yaml.SequenceNode):
            raise _ItemError(self._where(value), "Value of required_plugin_versions must be a sequence")
        return PluginVersions(self._sequence(value, requirement))

    def _append(self, values: Mapping[str, yaml.Node]) -> tuple[bool | None, Where | None]:
        """(whether it says so, None for a mistake; where)."""
        if "append" not in values:
            return False, None
        return self._tried(lambda: bool(self._bool(values, "append"))), self._where(values["append"])

    def _list(self, node: yaml.MappingNode, values: Mapping[str, yaml.Node]) -> Item | None:
        name = self._tried(lambda: self._text(node, values, "list"))
        items = self._tried(lambda: self._items(node, values))
        append, deprecated = self._append(values)
        override = self._override("list", values)
        if name is None or items is None or append is None or override is None:
            return None
        return ListItem(name, items, append, override, deprecated)

    def _items(self, node: yaml.MappingNode, values: Mapping[str, yaml.Node]) -> tuple[Scalar, ...]:
        if "items" not in values:
            raise _ItemError(self._where(node), "Item has no mapping for key 'items'", "add 'items: [...]'")
        return self._sequence(values["items"], self._element)

    def _macro(self, node: yaml.MappingNode, values: Mapping[str, yaml.Node]) -> Item | None:
        name = self._tried(lambda: self._text(node, values, "macro"))
        condition = self._tried(lambda: self._text(node, values, "condition"))
        append, deprecated = self._append(values)
        override = self._override("macro", values)
        if name is None or condition is None or append is None or override is None:
            return None
        return MacroItem(name, condition, append, override, deprecated)

    def _rule(self, node: yaml.MappingNode, values: Mapping[str, yaml.Node]) -> Item | None:
        name = self._tried(lambda: self._text(node, values, "rule"))
        append, deprecated = self._append(values)
        override = self._override("rule", values)
        readers: dict[str, Callable[[], Any]] = {}
        for key in RULE_TEXTS:
            empty_ok = key == "source" and bool(append or override)
            readers[key] = partial(self._text, node, values, key, empty_ok)
        for key in RULE_FLAGS:
            readers[key] = partial(self._bool, values, key)
        readers["tags"] = lambda: self._sequence(values["tags"], self._element)
        readers["exceptions"] = lambda: self._sequence(values["exceptions"], self._exception)
        readers["capture_duration"] = lambda: self._duration(node, values)
        made: dict[str, Any] = {}
        broken: set[str] = set()
        for key, read in readers.items():
            if key not in values or (key in ("tags", "exceptions") and not _given(values, key)):
                continue
            found = self._tried(read)
            if found is None:
                broken.add(key)
            else:
                made[key] = found
        if name is None or append is None or override is None:
            return None
        return RuleItem(
            name,
            texts={key: made[key] for key in RULE_TEXTS if key in made},
            flags={key: made[key] for key in RULE_FLAGS if key in made},
            tags=made.get("tags"),
            exceptions=made.get("exceptions"),
            capture_duration=made.get("capture_duration"),
            append=append,
            override=override,
            deprecated=deprecated,
            broken=frozenset(broken),
        )

    def _duration(self, node: yaml.MappingNode, values: Mapping[str, yaml.Node]) -> int:
        scalar = self._text(node, values, "capture_duration")
        if re.fullmatch(r"\d{1,10}", scalar.value, re.ASCII) and int(scalar.value) < 1 << 32:
            return int(scalar.value)
        raise _ItemError(
            scalar.where,
            f"Can't decode YAML scalar value '{scalar.value}' of key 'capture_duration'",
            "use milliseconds, a whole number",
        )

    def _exception(self, node: yaml.Node) -> ExceptionItem:
        if not isinstance(node, yaml.MappingNode):
            raise _ItemError(self._where(node), "Rule exception must be a mapping with a name", "add 'name: ...'")
        values = pairs_of(node)
        self._unknown_keys(node, EXCEPTION_KEYS, "exception")
        name = self._text(node, values, "name")

        def words(key: str) -> Scalar | tuple[Scalar, ...] | None:
            if not _given(values, key):
                return None
            value = values[key]
            return (
                self._sequence(value, self._element)
                if isinstance(value, yaml.SequenceNode)
                else self._scalar(value, key)
            )

        def element(child: yaml.Node) -> ExceptionValue:
            return (
                self._sequence(child, self._element) if isinstance(child, yaml.SequenceNode) else self._element(child)
            )

        def row(child: yaml.Node) -> Scalar | tuple[ExceptionValue, ...]:
            return self._sequence(child, element) if isinstance(child, yaml.SequenceNode) else self._element(child)

        rows = self._sequence(values["values"], row) if _given(values, "values") else ()
        return ExceptionItem(name, words("fields"), words("comps"), rows)


def _is_null(node: yaml.Node) -> bool:
    return isinstance(node, yaml.ScalarNode) and not node.style and node.value in _NULL


def _given(values: Mapping[str, yaml.Node], key: str) -> bool:
    node = values.get(key)
    return node is not None and not _is_null(node)


def read_items(source: Source, problems: Problems) -> Items:
    """The items of `source` in order; what is wrong is added to `problems`."""
    return _Reader(source, problems).read()
