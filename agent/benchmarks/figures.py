# SPDX-License-Identifier: Apache-2.0
"""Single figures of an agent: how it starts, idles, answers and keeps up.

"All rules" are Falco's own, all of them enabled, where they are beside this repository, else ours.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from .children import START_S, Agent, Lines
from .settings import OWN_RULES, rules, upstream_files
from .table import median, number, percentile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from .children import Children

FALCO = Path(sys.executable).parent / "falco-py"
OPENS_S = 0.02  # between two opens whose alerts are timed
BURST = 8000
RELOADS = 5
_RELOAD = re.compile(rb"Reload \d+: ([\d.]+) s beside the events, (\d+) ms between two")
SHARES = (0.9, 0.8, 0.65, 0.5, 0.35)  # of the rate of a burst, tried until one is kept up with
LOST_AFTER_S = 3
_MATCHING = """
- rule: A file of the benchmark
  desc: a file that only the benchmark opens
  condition: evt.type in (open, openat, openat2) and fd.name startswith {0}
  output: opened %fd.name by %proc.name (%proc.cmdline, user %user.name, parent %proc.pname)
  priority: NOTICE
"""


# Time cannot be tested in the kernel, so that every open is told, and none matches.
_WANTED = """
- rule: Every open of the benchmark
  desc: opens of files that only the benchmark opens
  condition: evt.type in (open, openat, openat2) and fd.name startswith {0} and evt.rawtime.s = 1
  output: opened %fd.name
  priority: EMERGENCY
"""
_FLOOD = """
- rule: A file of the flood
  desc: a file that only the benchmark opens
  condition: evt.type in (open, openat, openat2) and fd.name = {0}/flood
  output: flooded %fd.name
  priority: DEBUG
- rule: A canary
  desc: a file that only the benchmark opens
  condition: evt.type in (open, openat, openat2) and fd.name startswith {0}/canary
  output: opened %fd.name
  priority: CRITICAL
"""
FLOOD_CPU_PERCENT = 20
CANARY_S = 0.1  # between two
WANTED = 200_000  # opens of a burst


@dataclass(frozen=True)
class Scope:
    """How long to look."""

    starts: int = 3
    idle_s: float = 10
    opens: int = 250
    sustained_s: float = 3
    execs: int = 20_000
    flood_s: float = 10


QUICK = Scope(starts=1, idle_s=2, opens=50, sustained_s=1, execs=1000, flood_s=3)


class Figures:
    """Each method gives lines of text."""

    def __init__(self, children: Children, scratch: Path, program: Path, scope: Scope) -> None:
        self._children = children
        self._scratch = scratch
        self._program = program
        self._scope = scope
        self._files = scratch / "watched"
        self._files.mkdir()

    def all_rules(self) -> tuple[str, Sequence[str]]:
        files = upstream_files()
        return ("all upstream rules", rules(files, enabled=True)) if files else ("our rules", rules([OWN_RULES]))

    def start(self) -> Iterator[str]:
        """Until capture has started."""
        own = ("our rules", rules([OWN_RULES]))
        for title, options in dict.fromkeys([(title, tuple(options)) for title, options in (own, self.all_rules())]):
            taken = [self._start_s(options) for _ in range(self._scope.starts)]
            yield f"start until 'Capture started', {title}: {number(median(taken), 2)} s (of {len(taken)})"

    def _start_s(self, options: Sequence[str]) -> float:
        began = time.monotonic()
        child = self._children.start(
            [str(FALCO), "-c", str(self._config()), "-M", str(START_S), *options], stderr=subprocess.PIPE
        )
        assert child.stderr is not None
        try:
            for line in child.stderr:
                if b"Capture started" in line:
                    return time.monotonic() - began
        finally:
            self._children.stop(child)
            child.stderr.close()
        raise RuntimeError("the agent did not start")

    def reload(self) -> Iterator[str]:
        """From SIGHUP on: what is done beside the events, and the time in which none is read."""
        title, options = self.all_rules()
        told = [words for _ in range(self._scope.starts) for words in self._reloads(options)]
        beside, between = ([float(one[index]) for one in told] for index in (0, 1))
        yield (
            f"reload, {title}: {median(beside):.2f} s beside the events, {median(between):.0f} ms between two "
            f"(of {len(told)}; the most {max(beside):.2f} s, {max(between):.0f} ms)"
        )

    def _reloads(self, options: Sequence[str]) -> Iterator[tuple[str, str]]:
        """What the agent's log says of each of RELOADS."""
        child = self._children.start(
            [str(FALCO), "-c", str(self._config()), "-v", "-M", str(START_S), *options], stderr=subprocess.PIPE
        )
        assert child.stderr is not None
        try:
            left = RELOADS
            for line in child.stderr:
                found = _RELOAD.search(line)
                if found:
                    yield found[1].decode(), found[2].decode()
                if b"Capture started" in line or found:
                    if not left:
                        return
                    left -= 1
                    child.send_signal(signal.SIGHUP)
        finally:
            self._children.stop(child)
            child.stderr.close()

    def _config(self) -> Path:
        config = self._scratch / "empty.yaml"
        config.write_text("{}\n")
        return config

    def idle(self) -> Iterator[str]:
        """CPU and memory of an agent on a machine that does what it does anyway."""
        title, options = self.all_rules()
        with Agent(self._children, options, self._scratch) as agent:
            before, cpu_s, began = agent.counters(), agent.cpu_s(), time.monotonic()
            time.sleep(self._scope.idle_s)
            used_s, passed_s = agent.cpu_s() - cpu_s, time.monotonic() - began
            events = agent.counters()["records"] - before["records"]
            yield (
                f"idle, {title}: {used_s / passed_s:.2%} of a CPU over {passed_s:.0f} s, in which {events} events came"
            )
            yield (
                f"memory, {title}: resident {agent.memory_mb('VmRSS'):.0f} MB, "
                f"{agent.memory_mb('VmHWM'):.0f} MB at most since the start; kernel maps {agent.maps_mb():.0f} MB"
            )

    def _rules(self, text: str) -> list[str]:
        path = self._scratch / "matching.yaml"
        path.write_text(text.format(self._files))
        return rules([path])

    def latency(self) -> Iterator[str]:
        """From just before an open to its line in the reader of the agent's stdout."""
        paths = [self._files / f"{index:05}" for index in range(self._scope.opens)]
        for path in paths:
            path.touch()
        lines = Lines()
        agent = Agent(self._children, self._rules(_MATCHING), self._scratch, stdout=lines.write_end)
        lines.start()
        opened = {}
        with agent:
            for path in paths:
                time.sleep(OPENS_S)
                opened[path.name] = time.monotonic_ns()
                os.close(os.open(path, os.O_RDONLY))
            self._wait(lambda: len(lines.lines) >= len(paths))
        lines.close()
        prefix = f"opened {self._files}/".encode()
        taken = [
            (when - opened[line.split(prefix, 1)[1].split()[0].decode()]) / 1e6
            for when, line in lines.lines
            if prefix in line
        ]
        if not taken:
            yield "from a call to its line on stdout: no alert came"
            return
        yield (
            f"from a call to its line on stdout: p50 {percentile(taken, 0.5):.2f} ms, "
            f"p99 {percentile(taken, 0.99):.2f} ms, most {max(taken):.2f} ms "
            f"({len(taken)} alerts of {len(paths)} opens, one each {OPENS_S * 1000:.0f} ms)"
        )

    def _wait(self, done: Callable[[], bool], seconds: float = LOST_AFTER_S) -> None:
        ends = time.monotonic() + seconds
        while not done() and time.monotonic() < ends:
            time.sleep(0.005)

    def alerts(self) -> Iterator[str]:
        """A burst tells how fast the agent can be; then the highest rate that it keeps up with is looked for."""
        burst = self._alerts(BURST, 1)  # a nanosecond between them: as fast as can be
        yield (
            f"alerts to a file, a burst of {BURST} matching opens: {number(burst.rate)} alerts/s{burst.lost_words()}"
        )
        for share in SHARES:
            rate = burst.rate * share
            if not rate:
                break
            kept = self._alerts(int(rate * self._scope.sustained_s), int(1e9 / rate))
            if not kept.lost:
                yield (
                    f"alerts to a file without loss: {number(kept.rate)} alerts/s over "
                    f"{self._scope.sustained_s:g} s, {kept.cpu_us:.0f} us of agent CPU each"
                )
                return
        yield f"alerts to a file without loss: none of the rates tried was kept up with{kept.lost_words()}"

    def _alerts(self, count: int, interval_ns: int) -> Burst:
        target = self._files / "target"
        target.touch()
        out = self._scratch / "alerts"
        with out.open("wb") as written:
            agent = Agent(self._children, self._rules(_MATCHING), self._scratch, stdout=written.fileno())
        with agent, Tail(out, str(target).encode()) as tail:
            before, cpu_s, began = agent.counters(), agent.cpu_s(), time.monotonic()
            self._children.run([str(self._program), "open", str(count), str(target), str(interval_ns)])
            self._wait(lambda: tail.count() >= count)
            agent.settle()
            used_s, dropped = agent.cpu_s() - cpu_s, agent.counters()["dropped"] - before["dropped"]
            found = tail.count()
            return Burst(count, found, dropped, found / (tail.last_s - began) if found else 0.0, used_s)

    def wanted(self) -> Iterator[str]:
        """Opens that all reach user space, where no rule matches: the highest rate that nothing is lost at."""
        burst = self._opens(WANTED, 1)
        yield (
            f"opens that a rule wants, {burst.asked:,} at once: {number(burst.rate)}/s made, {burst.dropped:,} lost, "
            f"{number(burst.found / burst.cpu_s)} tested a CPU second"
        )
        for share in (1.0, *SHARES):
            rate = burst.rate if share == 1.0 else burst.found / burst.cpu_s * share
            kept = self._opens(int(rate * self._scope.sustained_s), int(1e9 / rate))
            if not kept.lost:
                yield (
                    f"opens that a rule wants, without loss: {number(kept.rate)}/s over {self._scope.sustained_s:g} s, "
                    f"{kept.cpu_us:.1f} us of agent CPU each"
                )
                return
        yield "opens that a rule wants, without loss: none of the rates tried was kept up with"

    def _opens(self, count: int, interval_ns: int) -> Burst:
        target = self._files / "target"
        target.touch()
        with Agent(self._children, self._rules(_WANTED), self._scratch) as agent:
            before, cpu_s = agent.counters(), agent.cpu_s()
            ns = float(self._children.run([str(self._program), "open", str(count), str(target), str(interval_ns)]))
            self._wait(lambda: agent.counters()["tested"] - before["tested"] >= count)
            agent.settle()
            after = agent.counters()
            found, dropped = after["tested"] - before["tested"], after["dropped"] - before["dropped"]
            return Burst(count, min(found, count), dropped, 1e9 / ns, agent.cpu_s() - cpu_s)

    def flood(self) -> Iterator[str]:
        """Opens that match a rule, as fast as they can be made, and now and then one that matters."""
        flooded = self._files / "flood"
        flooded.touch()
        canaries = [self._files / f"canary{index:04}" for index in range(int(self._scope.flood_s / CANARY_S))]
        for path in canaries:
            path.touch()
        lines = Lines()
        limit = ["-o", f"engine.falco_py.cpu_limit_percent={FLOOD_CPU_PERCENT}"]
        agent = Agent(self._children, [*self._rules(_FLOOD), *limit], self._scratch, stdout=lines.write_end)
        lines.start()
        opened = {}
        with agent:
            before, cpu_s, began = agent.counters(), agent.cpu_s(), time.monotonic()
            flood = self._children.start([str(self._program), "open", str(1 << 40), str(flooded), "0"])
            for path in canaries:
                time.sleep(CANARY_S)
                opened[path.name] = time.monotonic_ns()
                os.close(os.open(path, os.O_RDONLY))
            used_s, passed_s = agent.cpu_s() - cpu_s, time.monotonic() - began
            self._children.stop(flood)
            agent.settle()
            after = agent.counters()
        lines.close()
        told = {line.rpartition(b"/")[2].strip().decode(): when for when, line in lines.lines if b"/canary" in line}
        taken = [(when - opened[name]) / 1e6 for name, when in told.items()]
        offered = sum(after[name] - before[name] for name in ("sent", "shed", "dropped"))
        yield (
            f"flood of {number(offered / passed_s)} matching opens/s for {passed_s:.0f} s: {used_s / passed_s:.0%} "
            f"of a CPU where {FLOOD_CPU_PERCENT}% are allowed, {after['shed'] - before['shed']:,} shed, "
            f"{after['dropped'] - before['dropped']:,} lost"
        )
        yield (
            f"flood, canaries of a more severe rule: {len(taken)} of {len(canaries)} told, p50 "
            f"{percentile(taken, 0.5):.1f} ms, most {max(taken, default=0):.1f} ms after the open; drop alerts: "
            f"{sum(b'syscall event drop' in line for _, line in lines.lines)}"
        )

    def execs(self) -> Iterator[str]:
        count = self._scope.execs
        with Agent(self._children, rules([OWN_RULES]), self._scratch) as agent:
            before, cpu_s = agent.counters(), agent.cpu_s()
            ns = float(self._children.run([str(self._program), "exec", str(count), "/bin/true", "1"]))
            agent.settle()
            used_s, after = agent.cpu_s() - cpu_s, agent.counters()
            yield (
                f"vfork+exec of /bin/true, {count:,} times, our rules: {used_s / count * 1e6:.0f} us of agent CPU "
                f"for each, {(after['records'] - before['records']) / count:.1f} events for each, "
                f"{after['dropped'] - before['dropped']} dropped; {ns / 1000:.0f} us each by the clock"
            )


@dataclass(frozen=True)
class Burst:
    """`rate`: alerts a second until the last line."""

    asked: int
    found: int
    dropped: int
    rate: float
    cpu_s: float

    @property
    def lost(self) -> bool:
        return self.found != self.asked or self.dropped != 0

    @property
    def cpu_us(self) -> float:
        return self.cpu_s / self.found * 1e6 if self.found else 0.0

    def lost_words(self) -> str:
        return f" ({self.found:,} of {self.asked:,} came, {self.dropped:,} events dropped)" if self.lost else ""


class Tail:
    """Counts the lines of a growing file that hold a text; `last_s`: when one was last found (time.monotonic)."""

    def __init__(self, path: Path, text: bytes) -> None:
        self._path = path
        self._text = text
        self._found = 0
        self.last_s = 0.0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._follow, daemon=True)

    def count(self) -> int:
        return self._found

    def _follow(self) -> None:
        rest = b""
        with self._path.open("rb") as file:
            while not self._over.wait(0.01):
                now = time.monotonic()
                *whole, rest = (rest + file.read()).split(b"\n")
                found = sum(self._text in line for line in whole)
                if found:
                    self._found += found
                    self.last_s = now

    def __enter__(self) -> Tail:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()


NAMES = ("start", "reload", "idle", "latency", "alerts", "wanted", "flood", "execs")
