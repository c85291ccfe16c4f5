# SPDX-License-Identifier: Apache-2.0
"""The broken rule files beside this become docs/rule-errors.md: each file and what is told of it.

`make docs` writes it anew. The second line of a file says what it is
about; lines are counted behind that, as the page shows them.
"""

from __future__ import annotations

from pathlib import Path

from falco_py.rules.bundle import load
from falco_py.rules.problems import RulesError

BROKEN = Path(__file__).parent / "broken"
PAGE = Path(__file__).parents[3] / "docs" / "rule-errors.md"
TEMPLATE = """\
# What is told of broken rules

Made by `make docs` from the files in `agent/tests/rules/broken`. A message names the file, the line and the column
(from 1), shows the line, gives Falco's code and says what to write. `falco-py -V FILE` checks a file and runs nothing.
"""


def told(name: str, rules: str) -> str:
    """Raises AssertionError for rules that are not broken."""
    try:
        load([(name, rules)])
    except RulesError as error:
        return "\n".join(str(problem) for problem in error.problems)
    raise AssertionError(f"{name} is not broken")


def page() -> str:
    parts = [TEMPLATE]
    for path in sorted(BROKEN.glob("*.yaml")):
        about, _, rules = path.read_text().split("\n", 1)[1].partition("\n\n")
        title = path.stem.replace("_", " ").capitalize()
        parts.append(
            f"\n## {title}\n\n{about.removeprefix('# ')}\n\n"
            f"```yaml\n{rules}```\n\n```text\n{told(path.name, rules)}\n```\n"
        )
    return "".join(parts)
