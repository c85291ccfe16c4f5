# SPDX-License-Identifier: Apache-2.0
"""Rules that load become descriptions: two columns for reading, or Falco's JSON with all that a condition uses.

Invariant: every rule that compiled is described, whether it is enabled or not; lists in JSON are sorted.
"""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any

from ..visible import visible
from .bundle import Default, Loader
from .checks import checks, fields
from .collector import DEFAULT_SOURCE
from .extras import extra_fields, fitting
from .grammar import MAX_DEPTH, deep_recursion
from .inference import event_types
from .lists import uses
from .priority import Priority
from .resolve import references
from .sources import OTHER_EVENTS, RUN
from .syntax import spelled
from .wording import condition_text, operator

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ..config.model import AppendOutput, Selection
    from .bundle import Rule
    from .syntax import Node

_NAME_WIDTH = 50
_TEXT_WIDTH = 70
# What Falco has from a plugin: the class of a field -> the plugin.
PLUGINS = {"container": "container", "k8s": "container", "k8smeta": "k8smeta", "k8s_audit": "k8saudit", "json": "json"}


class Descriptions:
    """Raises RulesError when the rules do not load."""

    def __init__(
        self,
        files: Sequence[tuple[str, str]],
        *,
        extra_output: Sequence[AppendOutput] = (),
        selections: Sequence[Selection] = (),
        rule_matching: str = "first",
        base64: bool = False,
        catalogue: Any = None,
    ) -> None:
        self._loader = Loader(catalogue or Default(), extra_output, selections, base64=base64)
        with deep_recursion(MAX_DEPTH):
            self._loader.load(files, Priority.DEBUG, rule_matching)
        self.rules = {rule.name: rule for rule in self._loader.rules}

    def text(self, name: str | None = None) -> str:
        """Names and descriptions of all rules or of the one named. Raises KeyError."""
        chosen = self.rules.values() if name is None else [self.rules[name]]
        rows = [("Rule", "Description"), ("----", "-----------"), *((one.name, one.desc) for one in chosen)]
        return "\n".join(line for row in rows for line in _columns(*row))

    def json(self, name: str | None = None) -> dict[str, Any]:
        """Raises KeyError."""
        with deep_recursion(MAX_DEPTH):
            if name is not None:
                return {"rules": [self._rule(self.rules[name])]}
            definitions = self._loader.definitions
            return {
                "required_engine_version": definitions.engine_version or "0.0.0",
                "required_plugin_versions": [_requirement(one.alternatives) for one in definitions.plugins],
                "rules": [self._rule(rule) for rule in self.rules.values()],
                "macros": [self._macro(macro) for macro in definitions.macros if self._opened(macro) is not None],
                "lists": [self._list(one) for one in definitions.lists],
            }

    def _rule(self, rule: Rule) -> dict[str, Any]:
        loader = self._loader
        definition = loader.definitions.rules[rule.name]
        beside = dict(extra_fields(fitting(loader.extra_output, definition)))
        output_fields = [key for key in rule.format.keys if key not in beside]
        written = loader.rule_conditions[rule.name].tree
        details = self._condition(written, rule.tree, definition.condition.value, rule.source)
        details["plugins"] = self._plugins([*details["condition_fields"], *output_fields])
        exceptions = definition.exceptions
        return {
            "info": {
                "name": rule.name,
                "condition": rule.condition,
                "priority": rule.priority.text,
                "output": rule.output,
                "description": rule.desc,
                "enabled": rule.enabled,
                "source": rule.source,
                "capture": definition.capture,
                "capture_duration": definition.capture_duration,
                "tags": list(rule.tags),
            },
            "details": {
                **details,
                "output_fields": sorted(output_fields),
                "extra_output_formatted_fields": sorted(key for key, form in beside.items() if form is not None),
                "exception_fields": _sorted(field.value for one in exceptions for field in one.fields),
                "exception_names": _sorted(one.name.value for one in exceptions),
                "exception_operators": _sorted(comp for one in exceptions for comp in one.comps),
                "output_compiled": rule.format.text,
            },
        }

    def _macro(self, name: str) -> dict[str, Any]:
        loader = self._loader
        definition, opened = loader.definitions.macros[name], self._opened(name)
        assert opened is not None
        written = loader.macro_conditions[name].tree
        details = self._condition(written, opened, definition.condition.value)
        details["plugins"] = self._plugins(details["condition_fields"])
        return {
            "info": {"name": name, "condition": definition.condition.value},
            "details": {"used": name in loader.used, **details},
        }

    def _list(self, name: str) -> dict[str, Any]:
        definition = self._loader.definitions.lists[name]
        final = next(one for one in self._loader.lists if one.name == name)
        items = [item.value for item in definition.items]
        return {
            "info": {"name": name, "items": items},
            "details": {
                "used": definition.used,
                "lists": _sorted(item for item in items if item in self._loader.definitions.lists and item != name),
                "items_compiled": [item.value for item in final.items],
                "plugins": [],
            },
        }

    def _condition(self, written: Node, opened: Node, text: str, source: str = DEFAULT_SOURCE) -> dict[str, Any]:
        """`written` is the tree with its macros, `text` the condition with its lists."""
        loader = self._loader
        found = list(checks(opened))
        return {
            "macros": _sorted(ref.name for ref in references(written)),
            "lists": _sorted(name for name in loader.definitions.lists if uses(text, name)),
            "condition_operators": _sorted(map(operator, found)),
            "condition_fields": _sorted(spelled(expr) for check in found for expr in fields(check)),
            "events": sorted(event_types(opened, loader.catalogue.universe) if source in RUN else OTHER_EVENTS),
            "condition_compiled": condition_text(opened),
        }

    def _opened(self, macro: str) -> Node | None:
        found = self._loader.macros.by_name.get(macro)
        return None if found is None else found.opened

    def _plugins(self, names: Iterable[str]) -> list[str]:
        found = (self._loader.catalogue.lookup(name) for name in names)
        return _sorted(PLUGINS[one[0].klass] for one in found if one is not None and one[0].klass in PLUGINS)


def _sorted(words: Iterable[str]) -> list[str]:
    return sorted(set(words))


def _requirement(alternatives: Sequence[tuple[Any, Any]]) -> dict[str, Any]:
    first, *others = [{"name": name.value, "version": version.value} for name, version in alternatives]
    return {**first, "alternatives": others}


def _columns(name: str, text: str) -> list[str]:
    lines = textwrap.wrap(visible(" ".join(text.split())), _TEXT_WIDTH) or [""]
    name = visible(name)
    made = [] if len(name) < _NAME_WIDTH else [name]
    rows = [*zip(("" if made else name, *[""] * len(lines)), lines, strict=False)]
    return [*made, *(f"{left:<{_NAME_WIDTH}} {right}".rstrip() for left, right in rows)]
