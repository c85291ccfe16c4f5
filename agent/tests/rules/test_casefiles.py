# SPDX-License-Identifier: Apache-2.0
"""Every case of the text fixtures (see casefiles): the language as Falco defines it, one sharp point each."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from falco_py.rules.bundle import Bundle, Rule, load
from falco_py.rules.problems import PHRASES, Problem, RulesError
from tests.rules.casefiles import Case, Catalogue, cases, event, tree_text

DIFFERENCES = (Path(__file__).parents[3] / "docs" / "differences.md").read_text()
CASES = list(cases())
CATALOGUE = Catalogue()


def told(case: Case, problem: Problem) -> str:
    place = case.place(problem.line, problem.column)
    if case.text[0].startswith("@@ "):
        place = f"{problem.file}:{place}"
    return f"{place} {problem.code}: {problem.message}"


def rule(bundle: Bundle, name: str) -> Rule:
    return next(one for one in bundle.rules if one.name == name)


def types_text(types: frozenset[str]) -> str:
    others = CATALOGUE.universe - types
    if not types or len(types) < len(others):
        return ", ".join(sorted(types)) or "none"
    return "all but " + ", ".join(sorted(others)) if others else "all"


def fires(bundle: Bundle, values: str) -> bool:
    made = event(values)
    matcher = bundle.matchers.get(made.name)
    return matcher is not None and matcher(made) is not None


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.file}: {case.name}")
def test_case(case: Case) -> None:
    try:
        bundle: Bundle | None = load(case.files(), catalogue=CATALOGUE)
        assert bundle is not None
        problems = bundle.warnings
    except RulesError as error:
        bundle, problems = None, error.problems
    for severity in ("error", "warning"):
        assert [told(case, p) for p in problems if p.severity == severity] == case.wanted(severity)
    if bundle is None:
        assert {kind for kind, _ in case.expected} <= {"error", "warning", "differs"}
        return
    for kind, text in case.expected:
        if kind == "tree":
            assert tree_text(bundle.rules[-1].tree) == text
        elif kind == "types":
            assert types_text(bundle.rules[-1].event_types) == text
        elif kind in ("true", "false"):
            assert fires(bundle, text) is (kind == "true"), text
        elif kind == "prints":
            wanted, _, values = text.rpartition(" =>")
            assert bundle.rules[-1].format.format(event(values)) == wanted
        elif kind == "rules":
            assert ", ".join(one.name for one in bundle.rules) == text
        elif kind == "is":
            attribute, _, wanted = text.partition(" ")
            name, _, attribute = attribute.partition(".")
            value = getattr(rule(bundle, name), attribute)
            assert (" ".join(value) if isinstance(value, tuple) else str(value)) == wanted
        else:
            assert kind in ("ok", "error", "warning", "differs"), f"unknown expectation {kind}"


@pytest.mark.parametrize("case", [case for case in CASES if case.wanted("differs")], ids=lambda case: case.name)
def test_every_difference_is_in_the_table(case: Case) -> None:
    for subject in case.wanted("differs"):
        assert f"\n| {subject} |" in DIFFERENCES


def test_every_published_point_has_a_case() -> None:
    numbers = [int(found[1]) for case in CASES if (found := re.match(r"P(\d+): ", case.name))]
    assert sorted(set(numbers)) == list(range(1, 62))


def test_every_code_has_a_case() -> None:
    told_codes = {text.split()[1].removesuffix(":") for case in CASES for text in case.wanted("error", "warning")}
    assert told_codes == set(PHRASES)
