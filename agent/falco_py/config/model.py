# SPDX-License-Identifier: Apache-2.0
"""The configuration as the agent reads it: frozen, typed, complete.

`Config()` is the built-in configuration, used when there is no falco.yaml.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from ..log import Level
from .keys import KEYS, PRIORITIES

__all__ = ["DEFAULT_RULES_FILES", "PRIORITIES", "AppendOutput", "Config", "Drops", "Match", "Selection"]

_RULES_FILES = KEYS["rules_files"].default
assert isinstance(_RULES_FILES, tuple)
DEFAULT_RULES_FILES: Final[tuple[str, ...]] = _RULES_FILES


@dataclass(frozen=True, slots=True)
class Match:
    """Which rules an `append_output` entry is for; what is absent fits any rule."""

    rule: str | None = None
    source: str | None = None
    tags: frozenset[str] = frozenset()

    def fits(self, rule: str, source: str, tags: frozenset[str]) -> bool:
        return self.rule in (None, rule) and self.source in (None, source) and self.tags <= tags


@dataclass(frozen=True, slots=True)
class AppendOutput:
    match: Match = field(default_factory=Match)
    extra_output: str = ""
    extra_fields: tuple[tuple[str, str | None], ...] = ()  # (key, format); format None: the raw field of that name
    suggested_output: bool = False


@dataclass(frozen=True, slots=True)
class Selection:
    """Rules to enable or to disable: those whose name fits the pattern `rule` (`*` is any text), or with the tag."""

    enable: bool
    rule: str | None = None
    tag: str | None = None

    def __str__(self) -> str:
        """The line for the log, as Falco has it."""
        what = f"name: {self.rule}" if self.rule is not None else f"tag: {self.tag}"
        return f"{'Enabling' if self.enable else 'Disabling'} rules with {what}"


@dataclass(frozen=True, slots=True)
class Drops:
    """What is done about lost events: `syscall_event_drops`."""

    threshold: float = 0.1  # of what happened in a second
    actions: tuple[str, ...] = ("log", "alert")
    rate: float = 0.03333  # actions a second, after `max_burst` at once
    max_burst: float = 1.0
    simulate: bool = False


@dataclass(frozen=True, slots=True)
class Config:
    files: tuple[str, ...] = ()  # what was read
    rules_files: tuple[str, ...] = DEFAULT_RULES_FILES
    rule_matching: str = "first"  # or "all"
    capture_enabled: bool = False
    capture_mode: str = "rules"  # or "all_rules"
    priority: int = 7  # severity of the least severe rules that are loaded; index of PRIORITIES
    json_output: bool = False
    json_include_output_property: bool = True
    json_include_message_property: bool = False
    json_include_output_fields_property: bool = True
    json_include_tags_property: bool = True
    time_format_iso_8601: bool = False
    buffered_outputs: bool = False
    stdout_output_enabled: bool = True
    drops: Drops = field(default_factory=Drops)
    cpu_limit_percent: float = 0.0  # of one core; 0 is no limit
    log_stderr: bool = True
    log_level: Level = Level.INFO
    append_output: tuple[AppendOutput, ...] = ()
    static_fields: tuple[tuple[str, str], ...] = ()  # (name without "static.", value)
    rules: tuple[Selection, ...] = ()
    warnings: tuple[str, ...] = ()  # lines for the log: keys that nobody knows
    notices: tuple[str, ...] = ()  # lines for the log: keys that have no effect yet
