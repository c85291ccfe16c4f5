# SPDX-License-Identifier: Apache-2.0
"""Only the rules that a record was told for are tested, and none that could match is left out."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

from falco_py.engine.narrowing import MAX_MADE, PAYS_AFTER, Narrowing
from falco_py.events.record import ITEM_LEFT
from falco_py.kernel.pushdown import Plan
from falco_py.rules.bundle import load

if TYPE_CHECKING:
    from falco_py.rules.bundle import Bundle

GENERATION = 7
CLAUSES = (("one",), ("two", "three"), ("three",))
rules_of = Plan(rules=CLAUSES).rules_of


def bundle() -> Bundle:
    text = "".join(
        f"- rule: {name}\n  desc: d\n  condition: evt.type = {event} and proc.name = x\n  output: o\n  priority: INFO\n"
        for name, event in (("one", "openat"), ("two", "openat"), ("three", "dup"))
    )
    return load([("r.yaml", text)], rule_matching="all")


def record(clauses: int, generation: int = GENERATION, tag: int = ITEM_LEFT) -> bytes:
    return struct.pack("=HBBq", 8, 1, 0, 5) + struct.pack("=HBBQQ", 16, tag, 0, generation, clauses)


def after(many: int, narrowing: Narrowing, payload: bytes, whole: Any, event: str = "openat") -> Any:
    for _ in range(many - 1):
        assert narrowing.matcher(event, payload, whole) is whole
    return narrowing.matcher(event, payload, whole)


def test_a_set_of_rules_gets_its_function_when_it_came_often() -> None:
    made = bundle()
    narrowing = Narrowing(made, rules_of, GENERATION)
    whole = made.matchers["openat"]
    found = after(PAYS_AFTER, narrowing, record(0b001), whole)
    assert found is made.narrowed("openat", frozenset(("one",)))
    assert found is not whole
    assert narrowing.matcher("openat", record(0b001), whole) is found
    assert narrowing.made == 1
    both = after(PAYS_AFTER, narrowing, record(0b011), whole)
    assert both is made.narrowed("openat", frozenset(("one", "two", "three")))


def test_rules_that_do_not_run_on_the_event_are_none() -> None:
    made = bundle()
    found = after(PAYS_AFTER, Narrowing(made, rules_of, GENERATION), record(0b100), made.matchers["openat"])
    assert found(object()) is None


def test_records_of_other_rules_and_without_a_reason_are_tested_by_all() -> None:
    made = bundle()
    whole = made.matchers["openat"]
    for payload in (
        record(0b001, generation=GENERATION - 1), record(0b001, tag=4), record(0), b"", b"x" * 9,
        record(0b001)[:-9], record(1 << 60),
    ):  # fmt: skip
        assert after(2 * PAYS_AFTER, Narrowing(made, rules_of, GENERATION), payload, whole) is whole


def test_what_is_remembered_is_bounded() -> None:
    made = bundle()
    narrowing = Narrowing(made, Plan(rules=(("one",),) * 60).rules_of, GENERATION)
    whole = made.matchers["openat"]
    for number in range(1, MAX_MADE + 10):
        after(PAYS_AFTER, narrowing, record(number), whole)
    assert len(narrowing._matchers) == MAX_MADE
    assert narrowing.made == 1
    for number in range(20_000):
        narrowing.matcher("openat", record(1 << 20 | number), whole)
    assert len(narrowing._seen) <= 4096
