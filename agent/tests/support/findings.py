# SPDX-License-Identifier: Apache-2.0
"""What the tests of checks share: asking one check, and running the command as it is typed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from falco_py.support.finding import Question

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from falco_py.support.finding import Finding

AGENT = Path(__file__).parents[2]
RULE = """\
- rule: cat runs
  desc: A rule for tests.
  condition: evt.type = execve and proc.name = cat
  output: cat ran (%proc.cmdline)
  priority: NOTICE
"""


def asked(run: Callable[[Question], Iterable[Finding]], question: Question | None = None) -> list[str]:
    """The findings of a check as `mark fact`, with ` -> remedy` where there is one."""
    found = list(run(Question(None) if question is None else question))
    assert all(bool(one.remedy) == (one.mark.value != "ok") for one in found)
    return [f"{one.mark.value} {one.fact}" + (f" -> {one.remedy}" if one.remedy else "") for one in found]


def falco_py(
    *words: str | Path, before: Sequence[str] = (), env: dict[str, str] | None = None, cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("FALCO_")}
    done = subprocess.run(
        [*before, sys.executable, "-m", "falco_py", *map(str, words)],
        capture_output=True, text=True, timeout=120, check=False, stdin=subprocess.DEVNULL, cwd=cwd,
        env={**kept, "PYTHONPATH": str(AGENT), **(env or {})},
    )  # fmt: skip
    assert "Traceback" not in done.stderr
    return done
