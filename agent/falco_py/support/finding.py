# SPDX-License-Identifier: Apache-2.0
"""What a check is asked and what it answers.

Invariant: a finding that is not fine says what to do about it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ..config import Config

REMOVED: Final = "<removed>"
INPUT_WRONG: Final = 1
MACHINE_CANNOT: Final = 2


class Mark(Enum):
    OK = "ok"
    WARN = "warn"
    FAIL = "FAIL"


@dataclass(frozen=True, slots=True)
class Finding:
    """`fact`: what was found, one line or a few; `remedy`: what to do; `code`: the exit code that it calls for."""

    check: str
    mark: Mark
    fact: str
    remedy: str = ""
    code: int = 0

    def json(self) -> dict[str, str]:
        made = {"check": self.check, "mark": self.mark.value, "fact": self.fact}
        return {**made, "remedy": self.remedy} if self.remedy else made


def fine(check: str, fact: str) -> Finding:
    return Finding(check, Mark.OK, fact)


def warn(check: str, fact: str, remedy: str) -> Finding:
    """The agent runs, but less well than it could."""
    return Finding(check, Mark.WARN, fact, remedy)


def wrong(check: str, fact: str, remedy: str) -> Finding:
    """The configuration or the rules must be mended."""
    return Finding(check, Mark.FAIL, fact, remedy, INPUT_WRONG)


def cannot(check: str, fact: str, remedy: str) -> Finding:
    """The machine cannot run the agent like this."""
    return Finding(check, Mark.FAIL, fact, remedy, MACHINE_CANNOT)


@dataclass
class Question:
    """What is examined. `config` and `forbidden` are filled by the checks that find them, for those that follow."""

    path: str | None  # of the configuration; None: the built-in one
    overrides: tuple[str, ...] = ()  # of -o
    rules: tuple[str, ...] = ()  # of -r, in place of those of the configuration
    rules_options: Callable[[Config], dict[str, Any]] = lambda _config: {}
    private: bool = False  # what is found will be shown to others: parts of secret values are left out
    root: str = field(default_factory=lambda: os.environ.get("HOST_ROOT") or "/")
    syslog: str = "/dev/log"
    pid_file: str = "/run/falco.pid"
    config: Config | None = None
    forbidden: list[str] = field(default_factory=list)  # checks that say the kernel will refuse the programs

    def hide(self, text: str) -> str:
        """A part of a value that may hold a secret, as it may be shown."""
        return REMOVED if self.private else text

    def host(self, path: str) -> str:
        """A path of the host, as it is seen here."""
        return os.path.join(self.root, path.lstrip("/"))


@dataclass(frozen=True, slots=True)
class Check:
    """`run` gives its findings one by one, and may raise anything; it counts as failed after `limit_s`."""

    name: str
    run: Callable[[Question], Iterable[Finding]]
    limit_s: float = 10.0
