# SPDX-License-Identifier: Apache-2.0
"""Rule items of all files, in order, become definitions: the last word on each rule, macro and list.

Appending, overriding, redefinition and switching happen here; exceptions and lists are written into conditions in
`exceptions.py` and `lists.py`. Invariant: a name keeps the position of its first definition, whatever changes it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from .exceptions import RuleException, append_exceptions, define_exceptions
from .items import (
    EngineVersion,
    Item,
    Items,
    ListItem,
    MacroItem,
    PluginRequirement,
    PluginVersions,
    RuleItem,
)
from .places import Scalar, Text, Where
from .priority import Priority
from .problems import Problems, nearest

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

ENGINE_VERSION = (0, 63, 0)
# What Falco loads as plugins and is built in here: name -> version whose fields are provided.
BUILT_IN_PLUGINS = {"container": (0, 7, 9), "k8smeta": (0, 4, 99), "k8saudit": (0, 99, 0), "json": (0, 7, 99)}
DEFAULT_SOURCE = "syscall"
REQUIRED = ("condition", "output", "desc", "priority")  # of a rule
NOTHING = "-"  # stands for an output that is missing

_LIST_NAME = re.compile(r"[^()\"'\s=,]+")
_MACRO_NAME = re.compile(r"[a-zA-Z]+[a-zA-Z0-9_]*")


@dataclass(slots=True)
class ListDef:
    """`position`: of the first definition; `visible_from`: of the latest one, lists and macros that were first
    defined before it may be named in it."""

    name: str
    items: tuple[Scalar, ...]
    position: int
    visible_from: int
    where: Where
    used: bool = False


@dataclass(slots=True)
class MacroDef:
    name: str
    condition: Text
    position: int
    visible_from: int
    where: Where


@dataclass(slots=True)
class RuleDef:
    name: str
    desc: str
    output: Text
    condition: Text
    priority: Priority
    source: str
    enabled: bool
    tags: frozenset[str]
    exceptions: tuple[RuleException, ...]
    warn_evttypes: bool
    skip_unknown: bool
    capture: bool
    capture_duration: int
    position: int
    where: Where


@dataclass(slots=True)
class Definitions:
    """Everything defined. `broken`: names whose item could not be read, so that no one complains about them."""

    lists: dict[str, ListDef] = field(default_factory=dict)
    macros: dict[str, MacroDef] = field(default_factory=dict)
    rules: dict[str, RuleDef] = field(default_factory=dict)
    engine_version: str = ""
    plugins: list[PluginRequirement] = field(default_factory=list)
    broken: set[tuple[str, str]] = field(default_factory=set)


class Collector:
    def __init__(self, problems: Problems) -> None:
        self.problems = problems
        self.definitions = Definitions()
        self._position = 0
        self._engine_maximum = (-1, 0, 0)

    def add(self, items: Items) -> None:
        """Apply the items of one file."""
        self.definitions.broken |= items.broken
        for item in items.items:
            self._position += 1
            self._apply(item)

    def _apply(self, item: Item) -> None:
        if isinstance(item, EngineVersion):
            self._engine(item.version)
        elif isinstance(item, PluginVersions):
            self.definitions.plugins.extend(item.requirements)
        elif isinstance(item, ListItem):
            self._list(item)
        elif isinstance(item, MacroItem):
            self._macro(item)
        else:
            self._rule(item)

    def _error(self, where: Where, message: str, hint: str = "", item: tuple[str, str] = ("", ""),
               code: str = "LOAD_ERR_VALIDATE") -> None:  # fmt: skip
        self.problems.add("error", code, where, message, hint, item)

    def _deprecated(self, where: Where | None, message: str, item: tuple[str, str]) -> None:
        if where is not None:
            self.problems.add("warning", "LOAD_DEPRECATED_ITEM", where, message, "", item)

    # Requirements

    def _engine(self, scalar: Scalar) -> None:
        text = scalar.value
        if re.fullmatch(r"\d{1,9}", text, re.ASCII):
            version = (0, int(text), 0)
        elif re.fullmatch(r"\d{1,9}\.\d{1,9}\.\d{1,9}", text, re.ASCII):
            major, minor, patch = text.split(".")
            version = (int(major), int(minor), int(patch))
        else:
            self._error(scalar.where, f"Unable to parse engine version '{text}' as a semver string. "
                        'Expected "x.y.z" semver format.', code="LOAD_ERR_YAML_VALIDATE")  # fmt: skip
            return
        dotted = ".".join(map(str, version))
        if version[0] != ENGINE_VERSION[0] or version > ENGINE_VERSION:
            self._error(scalar.where, f"Rules require engine version {dotted}, but engine version is "
                        + ".".join(map(str, ENGINE_VERSION)), "these rules need a newer agent")  # fmt: skip
        elif version > self._engine_maximum:
            self._engine_maximum = version
            self.definitions.engine_version = dotted

    def check_plugins(self) -> None:
        """To be called when all files were added."""
        for requirement in self.definitions.plugins:
            if not any(_plugin_fits(name.value, version.value) for name, version in requirement.alternatives):
                wanted = ", ".join(f"{name.value} (>= {version.value})" for name, version in requirement.alternatives)
                self._error(
                    requirement.alternatives[0][0].where,
                    f"Plugin requirement not satisfied, must load one of: {wanted}",
                    "built in are: " + ", ".join(sorted(BUILT_IN_PLUGINS)),
                )

    # Lists and macros

    def _list(self, item: ListItem) -> None:
        name, here = item.name.value, ("list", item.name.value)
        self._deprecated(item.deprecated, "'append' key is deprecated. Add an 'append' entry (e.g. 'items: append') "
                         "under 'override' instead.", here)  # fmt: skip
        if not _LIST_NAME.fullmatch(name):
            self.problems.add("warning", "LOAD_INVALID_LIST_NAME", item.name.where,
                              "List has an invalid name. List names should match a regular expression: "
                              + _LIST_NAME.pattern, "", here)  # fmt: skip
        lists = self.definitions.lists
        old = lists.get(name)
        if item.append or item.override.get("items") == "append":
            if old is None:
                if ("list", name) not in self.definitions.broken:
                    self._error(item.name.where, "List uses 'append' or 'override.items: append' but no list by that "
                                "name already exists", nearest(name, lists), here)  # fmt: skip
                return
            lists[name] = replace(old, items=old.items + item.items, visible_from=self._position)
            return
        position = old.position if old else self._position
        lists[name] = ListDef(name, item.items, position, self._position, item.name.where)

    def _macro(self, item: MacroItem) -> None:
        name, here = item.name.value, ("macro", item.name.value)
        self._deprecated(
            item.deprecated,
            "'append' key is deprecated. Add an 'append' entry (e.g. 'condition: append') under 'override' instead.",
            here,
        )
        if not _MACRO_NAME.fullmatch(name):
            self.problems.add("warning", "LOAD_INVALID_MACRO_NAME", item.name.where,
                              "Macro has an invalid name. Macro names should match a regular expression: "
                              + _MACRO_NAME.pattern, "", here)  # fmt: skip
        macros = self.definitions.macros
        old = macros.get(name)
        text = Text.of(item.condition)
        if item.append or item.override.get("condition") == "append":
            if old is None:
                if ("macro", name) not in self.definitions.broken:
                    self._error(item.name.where, "Macro uses 'append' or 'override.condition: append' but no macro by "
                                "that name already exists", nearest(name, macros), here)  # fmt: skip
                return
            macros[name] = replace(old, condition=spaced(old.condition, text), visible_from=self._position)
            return
        position = old.position if old else self._position
        macros[name] = MacroDef(name, text, position, self._position, item.name.where)

    # Rules

    def _rule(self, item: RuleItem) -> None:
        here = ("rule", item.name.value)
        self._deprecated(
            item.deprecated,
            "'append' key is deprecated. Add an 'append' entry (e.g. 'condition: append') under 'override' instead.",
            here,
        )
        old = self.definitions.rules.get(item.name.value)
        if item.append or item.override:
            if old is None:
                self._no_rule(item, here)
            elif self._same_source(item, old, here):
                self._change(item, old, here)
            return
        if not any(key in item.texts or key in item.broken for key in REQUIRED):
            self._switch(item, old, here)
            return
        self._define(item, old, here)

    def _no_rule(self, item: RuleItem, here: tuple[str, str]) -> None:
        if here in self.definitions.broken:
            return
        operations = set(item.override.values()) if item.override else {"append"}
        if "append" in operations:
            message = "Rule uses 'append' or 'override.<key>: append' but no rule by that name already exists"
        else:
            message = "An 'override.<key>: replace' to a rule was requested but no rule by that name already exists"
        self._error(item.name.where, message, nearest(here[1], self.definitions.rules), here)

    def _switch(self, item: RuleItem, old: RuleDef | None, here: tuple[str, str]) -> None:
        """The old way to enable or disable a rule: an item with a name and `enabled` only."""
        if "enabled" in item.broken:
            return
        if "enabled" not in item.flags:
            self._error(
                item.name.where,
                "Item has no mapping for key 'enabled'",
                "a rule needs condition, desc, output and priority",
                here,
                "LOAD_ERR_YAML_VALIDATE",
            )
        elif old is None:
            if here not in self.definitions.broken:
                self._error(item.name.where, "Rule has 'enabled' key but no rule by that name already exists",
                            nearest(here[1], self.definitions.rules), here)  # fmt: skip
        else:
            self._deprecated(item.name.where, "The standalone 'enabled' key usage is deprecated. The correct approach "
                             "requires also a 'replace' entry under the 'override' key (i.e. 'enabled: replace').",
                             here)  # fmt: skip
            self.definitions.rules[old.name] = replace(old, enabled=item.flags["enabled"])

    def _same_source(self, item: RuleItem, old: RuleDef, here: tuple[str, str]) -> bool:
        source = item.texts.get("source")
        if source is None or not source.value or source.value == old.source:
            return True
        self._error(source.where, "Rule has been re-defined with a different source", f"it was '{old.source}'", here)
        return False

    def _define(self, item: RuleItem, old: RuleDef | None, here: tuple[str, str]) -> None:
        missing = [key for key in REQUIRED if key not in item.texts and key not in item.broken]
        for key in missing:
            self._error(item.name.where, f"Item has no mapping for key '{key}'", f"add '{key}: ...' to the rule", here,
                        "LOAD_ERR_YAML_VALIDATE")  # fmt: skip
        priority = self._priority(item, here)
        source = item.texts["source"].value if "source" in item.texts else DEFAULT_SOURCE
        if old is not None and source != old.source:
            self._error(item.name.where, "Rule has been re-defined with a different source", f"it was '{old.source}'",
                        here)  # fmt: skip
            return
        exceptions = define_exceptions(item.exceptions or (), self.problems, here)
        if "condition" not in item.texts:
            self.definitions.broken.add(here)
            return
        # What is missing was told of. The rest of the rule is looked at all the same.
        texts = {key: Text.of(scalar) for key, scalar in item.texts.items()}
        self.definitions.rules[here[1]] = RuleDef(
            name=here[1],
            desc=item.texts["desc"].value if "desc" in texts else "",
            output=texts.get("output", Text.made(NOTHING, item.name)).strip(),
            condition=texts["condition"],
            priority=Priority.DEBUG if priority is None else priority,
            source=source,
            enabled=item.flags.get("enabled", True),
            tags=_words(item.tags or ()),
            exceptions=exceptions or (),
            warn_evttypes=item.flags.get("warn_evttypes", True),
            skip_unknown=item.flags.get("skip-if-unknown-filter", False),
            capture=item.flags.get("capture", False),
            capture_duration=item.capture_duration or 0,
            position=old.position if old else self._position,
            where=item.name.where,
        )

    def _priority(self, item: RuleItem, here: tuple[str, str]) -> Priority | None:
        scalar = item.texts.get("priority")
        if scalar is None:
            return None
        priority = Priority.parse(scalar.value)
        if priority is None:
            names = [p.text for p in Priority]
            self._error(scalar.where, f"Invalid priority '{scalar.value}'",
                        nearest(scalar.value, [*names, "info"]) or "use one of " + ", ".join(names), here,
                        "LOAD_ERR_YAML_VALIDATE")  # fmt: skip
        return priority

    def _change(self, item: RuleItem, old: RuleDef, here: tuple[str, str]) -> None:
        if item.append:
            if "condition" not in item.texts and item.exceptions is None and not item.broken:
                self._error(item.name.where, "Appended rule must have exceptions or condition property",
                            "", here)  # fmt: skip
                return
            append, substitute = frozenset(("condition", "exceptions")) & item.keys(), frozenset[str]()
        else:
            named = {key: operation for key, operation in item.override.items() if key not in item.broken}
            append = frozenset(key for key, operation in named.items() if operation == "append")
            substitute = frozenset(key for key, operation in named.items() if operation == "replace")
        new = replace(old)
        texts = item.texts
        if "condition" in append:
            new.condition = spaced(new.condition, Text.of(texts["condition"]))
        if "output" in append:
            new.output = spaced(new.output, Text.of(texts["output"])).strip()
        if "desc" in append:
            new.desc = f"{new.desc} {texts['desc'].value}"
        if "tags" in append:
            new.tags |= _words(item.tags or ())
        if "exceptions" in append:
            added = append_exceptions(old.exceptions, item.exceptions or (), self.problems, here)
            if added is not None:
                new.exceptions = added
        self._substitute(new, item, substitute, here)
        self.definitions.rules[old.name] = new

    def _substitute(self, new: RuleDef, item: RuleItem, keys: frozenset[str], here: tuple[str, str]) -> None:
        texts = item.texts
        if "condition" in keys:
            new.condition = Text.of(texts["condition"])
        if "output" in keys:
            new.output = Text.of(texts["output"]).strip()
        if "desc" in keys:
            new.desc = texts["desc"].value
        if "tags" in keys:
            new.tags = _words(item.tags or ())
        if "capture_duration" in keys:
            new.capture_duration = item.capture_duration or 0
        new.enabled = _chosen(item.flags, keys, "enabled", new.enabled)
        new.warn_evttypes = _chosen(item.flags, keys, "warn_evttypes", new.warn_evttypes)
        new.skip_unknown = _chosen(item.flags, keys, "skip-if-unknown-filter", new.skip_unknown)
        new.capture = _chosen(item.flags, keys, "capture", new.capture)
        if "priority" in keys:
            priority = self._priority(item, here)
            new.priority = new.priority if priority is None else priority
        if "exceptions" in keys:
            exceptions = define_exceptions(item.exceptions or (), self.problems, here)
            new.exceptions = exceptions or ()


def _chosen(flags: Mapping[str, bool], keys: frozenset[str], key: str, old: bool) -> bool:
    return flags.get(key, old) if key in keys else old


def _words(scalars: Iterable[Scalar]) -> frozenset[str]:
    return frozenset(s.value for s in scalars)


def spaced(first: Text, second: Text) -> Text:
    """Both texts with one blank between them."""
    return Text.join((first, Text.made(" ", second.scalar), second))


def _plugin_fits(name: str, version: str) -> bool:
    built_in = BUILT_IN_PLUGINS.get(name)
    if built_in is None:
        return False
    wanted = tuple(int(part) for part in re.split(r"[-+]", version)[0].split("."))
    return wanted[0] == built_in[0] and wanted <= built_in
