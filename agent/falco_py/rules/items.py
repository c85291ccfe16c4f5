# SPDX-License-Identifier: Apache-2.0
"""What the items of a rules file are: their keys, and their values as written, each with its place.

Invariant: an item says what was written and nothing of what it means beside others; that is the collector's.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .places import Scalar, Where

if TYPE_CHECKING:
    from collections.abc import Mapping

KINDS = ("required_engine_version", "required_plugin_versions", "list", "macro", "rule")
KEYS: dict[str, tuple[str, ...]] = {
    "required_engine_version": ("required_engine_version",),
    "required_plugin_versions": ("required_plugin_versions",),
    "list": ("list", "items", "append", "override"),
    "macro": ("macro", "condition", "append", "override"),
    "rule": (
        "rule", "desc", "output", "condition", "priority", "source", "enabled", "tags", "exceptions",
        "warn_evttypes", "skip-if-unknown-filter", "capture", "capture_duration", "append", "override",
    ),
}  # fmt: skip
PLUGIN_KEYS = ("name", "version", "alternatives")
EXCEPTION_KEYS = ("name", "fields", "comps", "values")
RULE_TEXTS = ("desc", "output", "condition", "priority", "source")
RULE_FLAGS = ("enabled", "warn_evttypes", "skip-if-unknown-filter", "capture")
# What `override` may do with a key.
OVERRIDABLE: dict[str, dict[str, tuple[str, ...]]] = {
    "list": {"append": ("items",), "replace": ("items",)},
    "macro": {"append": ("condition",), "replace": ("condition",)},
    "rule": {
        "append": ("condition", "output", "desc", "tags", "exceptions"),
        "replace": (
            "condition", "output", "desc", "tags", "exceptions", "priority", "enabled", "warn_evttypes",
            "skip-if-unknown-filter", "capture", "capture_duration",
        ),
    },
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class EngineVersion:
    version: Scalar


@dataclass(frozen=True, slots=True)
class PluginRequirement:
    """Any one of `alternatives`, (name, version) each, is enough."""

    alternatives: tuple[tuple[Scalar, Scalar], ...]


@dataclass(frozen=True, slots=True)
class PluginVersions:
    requirements: tuple[PluginRequirement, ...]


@dataclass(frozen=True, slots=True)
class ListItem:
    name: Scalar
    items: tuple[Scalar, ...]
    append: bool
    override: Mapping[str, str]
    deprecated: Where | None = None


@dataclass(frozen=True, slots=True)
class MacroItem:
    name: Scalar
    condition: Scalar
    append: bool
    override: Mapping[str, str]
    deprecated: Where | None = None


ExceptionValue = Scalar | tuple[Scalar, ...]


@dataclass(frozen=True, slots=True)
class ExceptionItem:
    """As written. `fields` and `comps`: one scalar, a sequence, or None when absent. A row of `values` is a
    scalar, or a tuple whose elements are scalars or tuples of scalars."""

    name: Scalar
    fields: Scalar | tuple[Scalar, ...] | None
    comps: Scalar | tuple[Scalar, ...] | None
    values: tuple[Scalar | tuple[ExceptionValue, ...], ...]


@dataclass(frozen=True, slots=True)
class RuleItem:
    name: Scalar
    texts: Mapping[str, Scalar]
    flags: Mapping[str, bool]
    tags: tuple[Scalar, ...] | None
    exceptions: tuple[ExceptionItem, ...] | None
    capture_duration: int | None
    append: bool
    override: Mapping[str, str]
    deprecated: Where | None = None
    broken: frozenset[str] = frozenset()  # keys that were written, but not so that they can be read

    def keys(self) -> frozenset[str]:
        """The overridable keys that were written."""
        found = set(self.texts) | set(self.flags)
        found |= {"tags"} if self.tags is not None else set()
        found |= {"exceptions"} if self.exceptions is not None else set()
        found |= {"capture_duration"} if self.capture_duration is not None else set()
        return frozenset(found)


Item = EngineVersion | PluginVersions | ListItem | MacroItem | RuleItem


@dataclass(slots=True)
class Items:
    """The items of a file in order, and the names whose items could not be read."""

    items: list[Item] = field(default_factory=list)
    broken: set[tuple[str, str]] = field(default_factory=set)
