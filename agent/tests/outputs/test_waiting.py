# SPDX-License-Identifier: Apache-2.0
"""Alerts that wait for one output: in order, bounded, the severe outliving the others."""

from __future__ import annotations

import threading

from hypothesis import given
from hypothesis import strategies as st

from falco_py.outputs.waiting import CAPACITY, Waiting
from tests.outputs.items import item

MOVES = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.integers(0, 7), st.integers(1, 40)),
        st.tuples(st.just("take"), st.integers(1, 5), st.booleans()),
    ),
    max_size=60,
)


class Plain:
    """The same, as slowly as it is said: a list, and a search for what is to be given up."""

    def __init__(self, capacity: int, capacity_bytes: int) -> None:
        self.held: list[tuple[int, str]] = []
        self.capacity, self.capacity_bytes, self.lost = capacity, capacity_bytes, 0

    def bound(self, once: bool) -> None:
        while len(self.held) > self.capacity or sum(len(line) for _, line in self.held) > self.capacity_bytes:
            least = max(priority for priority, _ in self.held)
            self.held.remove(next(one for one in self.held if one[0] == least))
            self.lost += 1
            if once:
                return


@given(MOVES, st.integers(1, 6), st.integers(40, 200))
def test_it_does_what_a_plain_list_would(moves: list[tuple[str, int, int]], capacity: int, capacity_bytes: int) -> None:
    waiting, plain = Waiting(capacity, capacity_bytes), Plain(capacity, capacity_bytes)
    number = 0
    for what, first, second in moves:
        if what == "put":
            number += 1
            line = str(number).ljust(second, ".")
            waiting.put(item(line, first))
            plain.held.append((first, line))
            plain.bound(once=True)
        else:
            taken = waiting.take(first, 0)
            expected, plain.held = plain.held[:first], plain.held[first:]
            assert [one.line for one in taken] == [line for _, line in expected]
            if second:
                waiting.put_back(taken)
                plain.held = expected + plain.held
                plain.bound(once=False)
        assert (len(waiting), waiting.lost) == (len(plain.held), plain.lost)


def test_a_capacity_of_0_is_the_agents_own() -> None:
    assert Waiting(0).capacity == CAPACITY


def test_a_flood_of_the_least_severe_does_not_push_out_an_emergency() -> None:
    waiting = Waiting(10)
    waiting.put(item("emergency", 0))
    for number in range(100):
        waiting.put(item(str(number), 7))
    lines = [one.line for one in waiting.take(100, 0)]
    assert lines == ["emergency", *map(str, range(91, 100))]
    assert waiting.lost == 91


def test_a_reader_is_woken_and_let_go() -> None:
    waiting = Waiting()
    found: list[list[str]] = []

    def read() -> None:
        found.append([one.line for one in waiting.take(10, 60)])
        found.append([one.line for one in waiting.take(10, 60)])

    reader = threading.Thread(target=read)
    reader.start()
    waiting.put(item("one"))
    waiting.tell()
    while len(found) < 1 and reader.is_alive():
        pass
    waiting.close()
    reader.join(10)
    assert found == [["one"], []]


def test_a_block_is_gathered_until_it_is_large_or_the_queue_is_closed() -> None:
    waiting = Waiting()
    for number in range(3):
        waiting.put(item("x" * 40 + str(number)))
    waiting.gather(100, 60)  # gives back at once: 123 bytes wait
    waiting.close()
    waiting.gather(1000, 60)
    assert len(waiting) == 3
