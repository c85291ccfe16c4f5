# SPDX-License-Identifier: Apache-2.0
"""Commands that a page shows become what they print today: `$ falco-py ...` in a console block, run in docs/examples.

A block of yaml that begins with `# file NAME` holds that file of docs/examples. Invariant: what is written between the
blocks stays as it is.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from functools import lru_cache
from pathlib import Path

from . import DOCS

PAGES = (DOCS / "explain.md", DOCS / "testing-rules.md")
EXAMPLES = DOCS / "examples"
_CONSOLE = re.compile(r"```console\n\$ falco-py (?P<words>[^\n]*)\n.*?```\n", re.DOTALL)
_FILE = re.compile(r"```yaml\n# file (?P<name>[a-z_]+\.yaml)\n.*?```\n", re.DOTALL)
_WIDEST = 180  # characters of a line


@lru_cache
def printed(words: str) -> str:
    """What a command prints; long lines are cut."""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    command = [sys.executable, "-m", "falco_py", *shlex.split(words)]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=60, cwd=EXAMPLES, env=environment, check=False,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip
    lines = (done.stdout + done.stderr).splitlines()
    return "".join(f"{line if len(line) <= _WIDEST else line[:_WIDEST] + ' ...'}\n" for line in lines)


def page(text: str) -> str:
    """The page with what is printed today, and the files as they are."""
    text = _CONSOLE.sub(lambda found: f"```console\n$ falco-py {found['words']}\n{printed(found['words'])}```\n", text)
    return _FILE.sub(
        lambda found: f"```yaml\n# file {found['name']}\n{(EXAMPLES / found['name']).read_text()}```\n", text
    )
