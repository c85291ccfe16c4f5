# SPDX-License-Identifier: Apache-2.0
"""Trees of conditions become text that means the same."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from falco_py.rules.grammar import parse
from falco_py.rules.wording import condition_text

RULES = Path(__file__).parents[3] / "rules" / "falco_rules.yaml"


def shape(condition: str) -> str:
    """The tree without the places."""
    return re.sub(r"\bat=\d+", "", repr(parse(condition)))


@pytest.mark.parametrize(
    ("condition", "text"),
    [
        ("proc.name=cat", "proc.name = cat"),
        ("a and b and (c or not d)", "(a and b and (c or not d))"),
        ("proc.name in (a,'b c')", 'proc.name in (a, "b c")'),
        ("proc.name in ()", "proc.name in ()"),
        ("proc.name startswith oneof (a)", "proc.name startswith oneof (a)"),
        ("fd.name exists and not (not x)", "(fd.name exists and x)"),
        ("proc.name = val(proc.pname)", "proc.name = val(proc.pname)"),
        ("tolower(proc.aname[2]) = toupper(proc.name)", "tolower(proc.aname[2]) = toupper(proc.name)"),
        (r"""proc.name = 'a"\\b'""", r'''proc.name = "a\"\\b"'''),
        (r"proc.name = a\b", r"proc.name = a\b"),
        ("proc.name = ''", 'proc.name = ""'),
        ("proc.env['a b'] = 1", 'proc.env["a b"] = 1'),
        ("join('-', (proc.name, proc.pname)) = x", 'join("-", (proc.name, proc.pname)) = x'),
        ("getopt(proc.args, 'x:')[a] = 1", 'getopt(proc.args, "x:")[a] = 1'),
    ],
)
def test_a_tree_is_written_with_every_group_in_brackets(condition: str, text: str) -> None:
    assert condition_text(parse(condition)) == text
    assert shape(text) == shape(condition)


def test_the_text_of_the_projects_conditions_parses_to_the_same_tree() -> None:
    conditions = [item["condition"] for item in yaml.safe_load(RULES.read_text()) if "condition" in item]
    assert len(conditions) > 40
    for condition in conditions:
        assert shape(condition_text(parse(condition))) == shape(condition)
