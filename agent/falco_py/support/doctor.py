# SPDX-License-Identifier: Apache-2.0
"""All checks become one screen, a JSON document and an exit code.

Invariant: each check has its own thread and time, so that one that fails in an unforeseen way, or hangs, takes nothing
from the others.
"""

from __future__ import annotations

import platform
import textwrap
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from .. import __version__
from ..visible import visible
from . import cluster, hooks, machine, receivers, serving, settings, surroundings
from .finding import Check, Finding, Mark, warn

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .finding import Question

CHECKS: Final = (
    *machine.CHECKS,
    *hooks.CHECKS,
    *surroundings.CHECKS,
    *cluster.CHECKS,
    *settings.CHECKS,
    *cluster.AFTER,
    *surroundings.AFTER,
    *receivers.CHECKS,
    *serving.CHECKS,
)
WIDTH: Final = 100
_MARK_WIDTH: Final = 6
_NAME_WIDTH: Final = 17
_DEFECT: Final = "this is a defect of the check, not of the machine; report it with `falco-py --support`"


@dataclass(frozen=True, slots=True)
class Report:
    findings: tuple[Finding, ...]

    @property
    def exit_code(self) -> int:
        """0: fine, warnings included; 1: configuration or rules are wrong; 2: the machine cannot run the agent."""
        return max((one.code for one in self.findings), default=0)

    def text(self) -> str:
        where = f"Linux {platform.release()} ({platform.machine()}), Python {platform.python_version()}"
        lines = [f"falco-py {__version__} on {where}"]
        for one in self.findings:
            lines += _lines(one)
        return "\n".join([*lines, self.summary()])

    def summary(self) -> str:
        counts = [sum(one.mark is mark for one in self.findings) for mark in Mark]
        verdict = (
            "The agent can run here.",
            "Mend the configuration or the rules; then the agent can run here.",
            "The agent cannot run here as it is.",
        )[self.exit_code]
        return f"{counts[0]} fine, {counts[1]} to look at, {counts[2]} wrong. {verdict}"

    def json(self) -> dict[str, Any]:
        return {"version": __version__, "exit_code": self.exit_code, "checks": [one.json() for one in self.findings]}


def _lines(one: Finding) -> list[str]:
    head = f"{one.mark.value:<{_MARK_WIDTH}}{one.check:<{_NAME_WIDTH}}"
    blank = " " * len(head)
    made = _wrapped(one.fact, head, blank)
    return made + _wrapped(one.remedy, f"{blank}-> ", f"{blank}   ") if one.remedy else made


def _wrapped(text: str, first: str, others: str) -> list[str]:
    made: list[str] = []
    for line in text.split("\n"):
        made += textwrap.wrap(
            visible(line), WIDTH, initial_indent=others if made else first, subsequent_indent=others,
            break_on_hyphens=False,
        )  # fmt: skip
    return made


def examine(question: Question, checks: Sequence[Check] = CHECKS) -> Report:
    """Runs all checks, one after the other."""
    found: list[Finding] = []
    for check in checks:
        found += _bounded(check, question)
    return Report(tuple(found))


def _bounded(check: Check, question: Question) -> list[Finding]:
    found: list[Finding] = []
    failed: list[Exception] = []

    def work() -> None:
        try:
            for one in check.run(question):
                found.append(one)  # noqa: PERF402 - what was found before a failure or the end of the time counts
        except Exception as error:  # noqa: BLE001 - told below, whatever it is
            failed.append(error)

    thread = threading.Thread(target=work, name=f"check {check.name}", daemon=True)
    thread.start()
    thread.join(check.limit_s)
    made = list(found)
    if failed:
        reason = f"{type(failed[0]).__name__}: {question.hide(str(failed[0]))}"
        made.append(warn(check.name, f"the check failed: {reason}", _DEFECT))
    elif thread.is_alive():
        made.append(warn(check.name, f"no answer within {check.limit_s:g} s",
                         "something that it asks hangs: a file system, a device or a socket"))  # fmt: skip
    return made
