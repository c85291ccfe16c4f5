# SPDX-License-Identifier: Apache-2.0
"""docs/rules.md is checked as it is read: the text behind each example becomes what `falco-py -V` says of it.

An example is a block of yaml; a block of text that follows it directly holds what is said. Invariant: what is written
between the blocks stays as it is.
"""

from __future__ import annotations

import re

from falco_py.rules.results import check

from . import DOCS

PAGE = DOCS / "rules.md"
FILE = "rules.yaml"
_EXAMPLE = re.compile(r"```yaml\n(?P<rules>.*?)```\n\n```text\n(?P<told>.*?)```\n", re.DOTALL)


def examples(page: str) -> list[str]:
    """The rules of all examples."""
    return [found["rules"] for found in _EXAMPLE.finditer(page)]


def told(rules: str) -> str:
    """What -V says of rules in a file of their own."""
    (result,) = check([(FILE, rules)], {})
    return result.text() + "\n"


def page(text: str) -> str:
    """The page with what is said today."""
    return _EXAMPLE.sub(lambda found: f"```yaml\n{found['rules']}```\n\n```text\n{told(found['rules'])}```\n", text)
