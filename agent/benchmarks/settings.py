# SPDX-License-Identifier: Apache-2.0
"""The settings that loads are compared under: from no agent to rules that want every call."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

ROOT = Path(__file__).resolve().parents[2]
OWN_RULES = ROOT / "rules" / "falco_rules.yaml"
UPSTREAM = ROOT.parent / "shared" / "compat" / "rules"

BASE = "no agent"
NOTHING = """
- rule: Never seen
  desc: a rule on a call that nobody makes
  condition: evt.type = acct
  output: acct
  priority: DEBUG
"""
# Time cannot be tested before an event is told, and this one is past. Rules as severe as this are never shed.
EVERYTHING = """
- rule: Every call
  desc: every call of the loops is told and tested; none matches
  condition: evt.type in (getppid, open, openat, openat2, read, stat, newfstatat, connect, execve) and evt.rawtime.s = 1
  output: a call
  priority: EMERGENCY
"""


@dataclass(frozen=True)
class Setting:
    """`options` of the agent; None: there is none."""

    name: str
    options: Sequence[str] | None


def rules(paths: Sequence[Path], *, enabled: bool = False) -> list[str]:
    """Options that load these files; `enabled`: all their rules, also those that are off."""
    options = [word for path in paths for word in ("-r", str(path))]
    return [*options, "-o", 'rules[]={"enable": {"rule": "*"}}'] if enabled else options


def upstream_files() -> list[Path]:
    """Falco's own rules files in the order of their names; none when they are not beside this repository."""
    return sorted(UPSTREAM.glob("falco*.yaml"), key=lambda path: (path.name != "falco_rules.yaml", path.name))


def settings(scratch: Path) -> Iterator[Setting]:
    (scratch / "nothing.yaml").write_text(NOTHING)
    (scratch / "everything.yaml").write_text(EVERYTHING)
    yield Setting(BASE, None)
    yield Setting("nothing wanted", rules([scratch / "nothing.yaml"]))
    yield Setting("our rules", rules([OWN_RULES]))
    if files := upstream_files():
        yield Setting("upstream rules", rules(files, enabled=True))
    yield Setting("every call", rules([scratch / "everything.yaml"]))
