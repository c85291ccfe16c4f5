# SPDX-License-Identifier: Apache-2.0
"""Host names are resolved in the background; whoever asks never waits."""

from __future__ import annotations

import threading
import time
from ipaddress import ip_address
from typing import TYPE_CHECKING

from falco_py.fields.dns import FORGET_S, TTL_S, Resolver, domain_match, domain_text, system_look_up

if TYPE_CHECKING:
    from collections.abc import Callable

    from falco_py.fields.dns import Address

A, B, C = ip_address("192.0.2.1"), ip_address("192.0.2.2"), ip_address("2001:db8::1")


def wait(condition: Callable[[], bool]) -> bool:
    limit = time.monotonic() + 5
    while not condition() and time.monotonic() < limit:
        time.sleep(0.001)
    return condition()


def test_address_matches_once_its_name_is_resolved() -> None:
    resolver = Resolver(lambda _name: frozenset({A, C}))
    assert wait(lambda: domain_match(A, ("a.test",), resolver))
    assert domain_match(C, ("A.Test.",), resolver)
    assert not domain_match(B, ("a.test",), resolver)


def test_asking_does_not_wait_for_a_name_server_that_hangs() -> None:
    release = threading.Event()

    def hang(_name: str) -> frozenset[Address]:
        release.wait(10)
        return frozenset({A})

    try:
        begin = time.monotonic()
        resolver = Resolver(hang)
        assert not domain_match(A, ("slow.test",), resolver)
        assert time.monotonic() - begin < 1
    finally:
        release.set()
    assert wait(lambda: domain_match(A, ("slow.test",), resolver))


def test_addresses_are_looked_up_again_and_survive_a_failure() -> None:
    clock = [1000.0]
    answers: list[frozenset[Address] | None] = [frozenset({A}), None, frozenset({B}), frozenset()]
    asked: list[str] = []

    def answer(name: str) -> frozenset[Address]:
        asked.append(name)
        found = answers[len(asked) - 1]
        if found is None:
            raise OSError("no answer")
        return found

    resolver = Resolver(answer, now_s=lambda: clock[0])
    assert wait(lambda: domain_match(A, ("a.test",), resolver))
    clock[0] += TTL_S
    assert domain_match(A, ("a.test",), resolver)
    assert wait(lambda: resolver.failures == 1)
    assert domain_match(A, ("a.test",), resolver)
    clock[0] += TTL_S
    assert wait(lambda: domain_match(B, ("a.test",), resolver))
    assert not domain_match(A, ("a.test",), resolver)
    clock[0] += TTL_S
    assert wait(lambda: not domain_match(B, ("a.test",), resolver))
    assert asked == ["a.test"] * 4


def test_table_of_names_is_bounded_and_old_names_make_room() -> None:
    clock = [0.0]
    asked: list[str] = []

    def answer(name: str) -> frozenset[Address]:
        asked.append(name)
        return frozenset()

    resolver = Resolver(answer, now_s=lambda: clock[0], names_max=10)
    for i in range(30):
        resolver.addresses(f"{i}.test")
    assert resolver.refused == 20
    assert wait(lambda: len(asked) == 10)
    clock[0] += FORGET_S + 1
    resolver.addresses("new.test")
    assert wait(lambda: asked[-1] == "new.test")


def test_addresses_may_stand_among_the_names() -> None:
    resolver = Resolver(lambda _name: frozenset())
    assert domain_match(A, ("a.test", "192.0.2.1"), resolver)
    assert not domain_match(B, ("192.0.2.1",), resolver)
    assert not domain_match(None, ("192.0.2.1",), resolver)


def test_output_shows_a_known_name_else_the_address() -> None:
    resolver = Resolver(lambda _name: frozenset({A}))
    assert domain_text(None, resolver) is None
    assert domain_text(A, resolver) == "192.0.2.1"
    assert wait(lambda: domain_match(A, ("a.test",), resolver))
    assert domain_text(A, resolver) == "a.test"


def test_name_that_does_not_exist_has_no_address_and_is_no_failure() -> None:
    assert ip_address("127.0.0.1") in system_look_up("localhost")
    assert system_look_up("no such name") == frozenset()
