# SPDX-License-Identifier: Apache-2.0
"""A wish to reload: prepared beside, adopted between two batches, refused without a change."""

from __future__ import annotations

import threading

from falco_py.engine.reload import Reloader
from tests.outputs.items import until


class Stage:
    def __init__(self) -> None:
        self.adopted: list[str] = []
        self.refused: list[str] = []
        self.prepared: list[str] = []
        self.threads: set[int] = set()
        self.may = threading.Event()
        self.may.set()
        self.error: Exception | None = None
        self.fails_to_adopt = False
        self.woken = 0
        self.reloader = Reloader(self.prepare, self.adopt, lambda error: self.refused.append(str(error)), self.wake)

    def prepare(self, why: str) -> str | None:
        self.threads.add(threading.get_ident())
        self.may.wait(30)
        self.prepared.append(why)
        if self.error is not None:
            raise self.error
        return None if why == "nothing" else f"made for {why}"

    def adopt(self, made: str) -> None:
        if self.fails_to_adopt:
            raise OSError("no room")
        self.adopted.append(made)

    def wake(self) -> None:
        self.woken += 1

    def settle(self) -> None:
        self.reloader.turn()

        def done() -> bool:
            self.reloader.turn()
            return not self.reloader.busy

        until(done)


def test_it_is_prepared_in_another_thread_and_adopted_in_the_loops() -> None:
    stage = Stage()
    stage.reloader.ask("SIGHUP")
    assert stage.woken == 1
    stage.settle()
    assert stage.adopted == ["made for SIGHUP"]
    assert threading.get_ident() not in stage.threads
    assert (stage.reloader.done, stage.reloader.failed) == (1, 0)


def test_the_loop_goes_on_while_it_is_prepared() -> None:
    stage = Stage()
    stage.may.clear()
    stage.reloader.ask("SIGHUP")
    for _ in range(3):
        stage.reloader.turn()
    assert stage.reloader.busy
    assert stage.adopted == []
    stage.may.set()
    stage.settle()
    assert stage.adopted == ["made for SIGHUP"]


def test_wishes_during_a_reload_give_one_more() -> None:
    stage = Stage()
    stage.may.clear()
    stage.reloader.ask("first")
    stage.reloader.turn()
    for number in range(5):
        stage.reloader.ask(str(number))
        stage.reloader.turn()
    stage.may.set()
    stage.settle()
    assert stage.prepared == ["first", "4"]
    assert stage.reloader.done == 2


def test_what_is_wrong_changes_nothing_and_is_told() -> None:
    stage = Stage()
    stage.error = ValueError("bad rules")
    stage.reloader.ask("SIGHUP")
    stage.settle()
    assert (stage.adopted, stage.refused) == ([], ["bad rules"])
    assert (stage.reloader.done, stage.reloader.failed) == (0, 1)
    stage.error = None
    stage.reloader.ask("SIGHUP")
    stage.settle()
    assert stage.adopted == ["made for SIGHUP"]


def test_what_cannot_be_adopted_is_told() -> None:
    stage = Stage()
    stage.fails_to_adopt = True
    stage.reloader.ask("SIGHUP")
    stage.settle()
    assert (stage.adopted, stage.refused) == ([], ["no room"])


def test_nothing_new_is_no_reload() -> None:
    stage = Stage()
    stage.reloader.ask("nothing")
    stage.settle()
    assert (stage.reloader.done, stage.reloader.failed, stage.adopted) == (0, 0, [])
