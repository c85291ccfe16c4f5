# SPDX-License-Identifier: Apache-2.0
"""What waits in the spool becomes requests, again and again until the receiver has taken it.

Invariant: an alert leaves the spool only after an answer 2xx, or when the receiver has refused this very alert three
times. At most `max_in_flight` requests are on their way; while nothing works it is one, after a pause. One alert that
the receiver fails on does not hold up the others.
"""

from __future__ import annotations

import asyncio
import random
from bisect import insort
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from operator import attrgetter
from typing import TYPE_CHECKING, Final

from ..log import log
from .receiver import Answer, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable

    from .receiver import Receiver
    from .spool import Spool
    from .store import Row

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 30.0
REFUSALS: Final = 3  # then an alert is given up
_OUT: Final = 128  # alerts that are out of the spool, at most
_OUT_BYTES: Final = 1 << 20
_HELD: Final = 64  # of them those that are tried again later
_OTHER: Final = 4  # of so many attempts one is made with another alert than the oldest
_QUIET_S: Final = 60.0  # between two lines of the same kind in the log
_STEPS: Final = 16


class _Pending:
    """An alert that is out. `round`: the one it was sent in last; `due_s`: when it is tried again."""

    __slots__ = ("blames", "due_s", "failed", "number", "refusals", "round", "row")

    def __init__(self, number: int, row: Row) -> None:
        self.number = number
        self.row = row
        self.round = 0
        self.due_s = 0.0
        self.failed = False
        self.blames = 0  # times that it failed while a younger one did not
        self.refusals = 0


class Sender:
    """`run` and all that is private belong to the loop's thread; the counters and `problem` may be read anywhere."""

    def __init__(
        self, spool: Spool, receiver: Receiver, *, on_problem: Callable[[str], None],
        first_pause_s: float = FIRST_PAUSE_S, longest_pause_s: float = LONGEST_PAUSE_S,
    ) -> None:  # fmt: skip
        """`on_problem` is told why the last request did not work, and "" when it did; in the loop's thread."""
        self.sent = 0
        self.refused = 0
        self.retried = 0
        self.errors = 0  # defects of our own
        self.consecutive_timeouts = 0
        self._spool = spool
        self._receiver = receiver
        self._on_problem = on_problem
        self._first_pause_s = first_pause_s
        self._longest_pause_s = longest_pause_s
        self._most = receiver.settings.max_in_flight
        self._most_timeouts = max(1, receiver.settings.max_consecutive_timeouts)
        self._ready: deque[_Pending] = deque()  # by number
        self._held: list[_Pending] = []
        self._done: list[Row] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._number = 0
        self._dry = False  # the spool had nothing more when it was asked last
        self._failures = 0  # rounds in a row that failed
        self._round = 1
        self._due_s = 0.0  # when the next round may begin
        self._asked_to_wait = False
        self._failed: list[_Pending] = []  # since the receiver worked last
        self.problem = ""
        self._said_s: dict[str, float] = {}
        self._told_away = self._told_failing = False
        self._closing = False
        self._until_s = 0.0
        self._last_round = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._turn = asyncio.Event()
        self._ended = asyncio.Event()
        self._disk: ThreadPoolExecutor | None = None

    # What others call

    def wake(self) -> None:
        """There is something in the spool. From any thread."""
        loop = self._loop
        if loop is not None:
            try:
                loop.call_soon_threadsafe(self._woken)
            except RuntimeError:  # the loop has ended
                return

    def _woken(self) -> None:
        self._dry = False
        self._turn.set()

    async def drain(self, timeout_s: float) -> None:
        """Sends what waits, for so long at most, and ends `run`; when the receiver does not work, at once."""
        if self._loop is None:
            return
        self._closing = True
        self._until_s = self._loop.time() + timeout_s
        self._last_round = self._round
        if not self._asked_to_wait:
            self._due_s = 0.0
        self._woken()
        await self._ended.wait()

    async def run(self) -> None:
        self._loop = loop = asyncio.get_running_loop()
        self._disk = ThreadPoolExecutor(1, thread_name_prefix="http spool")
        try:
            await self._receiver.open()
            await loop.run_in_executor(self._disk, self._spool.open)
            while not self._finished():
                self._turn.clear()
                try:
                    await self._send_what_may_be()
                except Exception as error:  # noqa: BLE001 - alerts must go on
                    self._defect(error)
                if not self._finished():
                    await self._wait()
        finally:
            self._loop = None
            await self._end()

    async def _end(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        try:
            await self._exchange(0)
        except Exception as error:  # noqa: BLE001 - they are sent once more then
            self._defect(error)
        await self._receiver.close()
        if self._disk is not None:
            self._disk.shutdown(wait=False)
        self._ended.set()

    def _finished(self) -> bool:
        if not self._closing:
            return False
        if self._now() >= self._until_s or (self._failures and self._round > self._last_round):
            return True
        if self._asked_to_wait and self._due_s >= self._until_s and not self._tasks:
            return True
        return self._dry and not self._ready and not self._tasks

    def _now(self) -> float:
        return asyncio.get_running_loop().time()

    async def _wait(self) -> None:
        """Until something changes."""
        times = [pending.due_s for pending in self._held]
        if self._failures or self._asked_to_wait:
            times.append(self._due_s)
        if self._closing:
            times.append(self._until_s)
        timer = None
        if times:
            timer = asyncio.get_running_loop().call_at(max(min(times), self._now()), self._turn.set)
        try:
            await self._turn.wait()
        finally:
            if timer is not None:
                timer.cancel()

    # What is sent when

    async def _send_what_may_be(self) -> None:
        now_s = self._now()
        self._take_up_held(now_s)
        if self._failures or self._asked_to_wait:
            if now_s >= self._due_s and not self._tasks:
                await self._try_one()
            return
        while len(self._tasks) < self._most and not self._failures:
            if not self._ready:
                await self._draw()
                if not self._ready or self._failures:
                    break
            self._start(self._ready.popleft())

    async def _try_one(self) -> None:
        if self._done or self._spool.in_memory:
            await self._exchange(0)  # the disk may have room again
        if len(self._ready) < 2:
            await self._draw()
        if not self._ready:  # all that there is has been given up by the spool, or is held
            self._asked_to_wait = False
            self._failures = 0
            self._turn.set()
            return
        index = 0
        if self._failures % _OTHER == 0 and len(self._ready) > 1:
            index = 1 + (self._failures // _OTHER - 1) % (len(self._ready) - 1)
        pending = self._ready[index]
        del self._ready[index]
        self._start(pending)

    async def _draw(self) -> None:
        """Takes more out of the spool, if there is more, and deletes what is done."""
        if self._dry and not self._done:
            return
        room = _OUT - len(self._ready) - len(self._held) if len(self._held) < _HELD else 0
        self._dry = True  # unless woken meanwhile
        rows = await self._exchange(room)
        if rows or not room:
            self._dry = False
        for row in rows:
            self._number += 1
            self._ready.append(_Pending(self._number, row))

    async def _exchange(self, most: int) -> list[Row]:
        assert self._disk is not None
        done, self._done = self._done, []
        exchange = asyncio.get_running_loop().run_in_executor
        try:
            return await exchange(self._disk, self._spool.exchange, done, most, _OUT_BYTES)
        except BaseException:
            self._done += done
            self._dry = False
            raise

    def _start(self, pending: _Pending) -> None:
        pending.round = self._round
        if pending.failed or pending.refusals:
            self.retried += 1
        task = asyncio.get_running_loop().create_task(self._send(pending))
        self._tasks.add(task)
        task.add_done_callback(self._over)

    def _over(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._turn.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            self._defect(error)

    def _take_up_held(self, now_s: float) -> None:
        due = [pending for pending in self._held if pending.due_s <= now_s]
        if due:
            self._held = [pending for pending in self._held if pending.due_s > now_s]
            for pending in due:
                insort(self._ready, pending, key=attrgetter("number"))

    # What comes of it

    async def _send(self, pending: _Pending) -> None:
        answer = await self._receiver.post(pending.row.entry)
        if answer.verdict is Verdict.SENT:
            self.sent += 1
            self._done.append(pending.row)
            self._works(pending)
            self._tell("")
        elif answer.verdict is Verdict.REFUSED:
            self._works(pending)
            self._refuse(pending, answer)
        else:
            self._fail(pending, answer)

    def _refuse(self, pending: _Pending, answer: Answer) -> None:
        pending.refusals += 1
        reason = f"{self._receiver.place} refuses an alert: {answer.reason}"
        self._tell(reason)
        if pending.refusals < REFUSALS:
            self._hold(pending, pending.refusals)
            return
        self.refused += 1
        self._done.append(pending.row)
        if self._may_say("refused"):
            log.error(f"http output: {reason}, {REFUSALS} times; it is given up, {self.refused} so far")

    def _fail(self, pending: _Pending, answer: Answer) -> None:
        pending.failed = True
        if pending not in self._failed:
            self._failed.append(pending)
        insort(self._ready, pending, key=attrgetter("number"))
        if pending.round == self._round:  # the first of its round
            self._round += 1
            self._due_s = self._now() + self._pause_s(self._failures)
            self._failures += 1
        if answer.wait_s:
            self._asked_to_wait = True
            self._due_s = max(self._due_s, self._now() + answer.wait_s)
        reason = f"{self._receiver.place}: {answer.reason}"
        if answer.verdict is Verdict.TIMED_OUT:
            self.consecutive_timeouts += 1
        else:
            self.consecutive_timeouts = 0
        if self.consecutive_timeouts >= self._most_timeouts:
            reason = f"{self._receiver.place} is away: {answer.reason}, {self.consecutive_timeouts} times in a row"
        self._tell(reason)
        self._log_failure(reason)

    def _works(self, pending: _Pending) -> None:
        """The receiver has answered `pending`. Those before it that it failed on are passed by for a while."""
        self.consecutive_timeouts = 0
        pending.failed = False
        blamed, self._failed = self._failed, []
        self._failures = 0
        if self._asked_to_wait and self._now() >= self._due_s:
            self._asked_to_wait = False
        for other in blamed:
            if other.failed and other.number < pending.number and other in self._ready:
                other.blames += 1
                if other.blames > 1:
                    self._ready.remove(other)
                    self._hold(other, other.blames)
        self._log_recovery()

    def _hold(self, pending: _Pending, times: int) -> None:
        pending.due_s = self._now() + self._first_pause_s / 2 + self._pause_s(times)
        self._held.append(pending)

    def _pause_s(self, times: int) -> float:
        """Exponential back-off with full jitter."""
        return random.uniform(0.0, min(self._longest_pause_s, self._first_pause_s * 2 ** min(times, _STEPS)))

    # What is told

    def _tell(self, problem: str) -> None:
        if problem != self.problem:
            self.problem = problem
            self._on_problem(problem)

    def _log_failure(self, reason: str) -> None:
        rest = f"alerts wait in the spool ({self._spool.waiting}), and it is tried again"
        if self.consecutive_timeouts >= self._most_timeouts and not self._told_away:
            self._told_away = True
            log.error(f"http output: {reason}; {rest}")
        elif not (self._told_away or self._told_failing) and self._may_say("failing"):
            self._told_failing = True
            log.warning(f"http output: {reason}; {rest}")

    def _log_recovery(self) -> None:
        if self._told_away or self._told_failing:
            self._told_away = self._told_failing = False
            log.notice(f"http output: {self._receiver.place} answers again; {self._spool.waiting} alerts wait")

    def _defect(self, error: BaseException) -> None:
        self.errors += 1
        self._round += 1
        self._due_s = self._now() + self._pause_s(self._failures)
        self._failures += 1
        self._tell(f"{type(error).__name__}: {error}")
        if self._may_say("defect"):
            log.error(f"http output: {type(error).__name__}: {error}; it is tried again")

    def _may_say(self, what: str) -> bool:
        """At most one line of a kind in a minute."""
        now_s = self._now()
        if now_s < self._said_s.get(what, -_QUIET_S) + _QUIET_S:
            return False
        self._said_s[what] = now_s
        return True
