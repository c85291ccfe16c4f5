# SPDX-License-Identifier: Apache-2.0
"""Loops of system calls with and without the agent, interleaved, medians.

Ratios within one run mean something; absolute times depend on the machine and its neighbours. Each agent's CPU seconds,
the events that the kernel told it and its drops by class are those of the loop alone: the agent is started before and
stopped after it.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
FALCO = Path(sys.executable).parent / "falco-py"
START_S = 60

LOOPS = (  # name, turns, path
    ("getppid", 2_000_000, "-"),
    ("open+close", 2_000_000, "/usr/share/common-licenses/GPL-3"),
    ("open missing", 1_000_000, "/usr/share/common-licenses/missing"),
    ("stat", 1_000_000, "/usr/share/common-licenses/GPL-3"),
)
_PROGRAM = {"getppid": "getppid", "stat": "stat"}

NOTHING = """
- rule: Never seen
  desc: a rule on a call that nobody makes
  condition: evt.type = acct
  output: acct
  priority: DEBUG
"""
EVERYTHING = """
- rule: Every open
  desc: nothing in it can be decided in the kernel, so that every open is told; none matches
  condition: evt.type in (open, openat, openat2) and proc.name = no-such-name
  output: open
  priority: DEBUG
"""


@dataclass
class Sample:
    ns: list[float] = field(default_factory=list)
    cpu_s: list[float] = field(default_factory=list)
    told: list[int] = field(default_factory=list)
    dropped: list[int] = field(default_factory=list)
    drops: dict[str, int] = field(default_factory=dict)
    rss_mb: float = 0.0


class Agent:
    """A running agent; `stop` gives its CPU seconds, events told, drops by class and peak memory."""

    def __init__(self, rules: Path) -> None:
        self.process = subprocess.Popen(
            [str(FALCO), "-r", str(rules)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        self.log: list[str] = []
        started = threading.Event()
        self.reader = threading.Thread(target=self._read, args=(started,), daemon=True)
        self.reader.start()
        if not started.wait(START_S):
            self.process.kill()
            raise SystemExit("the agent did not start:\n" + "".join(self.log))
        self.cpu_before = self._cpu()

    def _read(self, started: threading.Event) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.log.append(line)
            if "Capture started" in line:
                started.set()

    def _cpu(self) -> float:
        words = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")

    def stop(self) -> tuple[float, int, dict[str, int], float]:
        time.sleep(0.1)
        used = self._cpu() - self.cpu_before
        peak = re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{self.process.pid}/status").read_text())
        self.process.send_signal(signal.SIGINT)
        self.process.wait(timeout=30)
        self.reader.join(timeout=5)
        text = "".join(self.log)
        told = re.search(r"events told by the kernel: (\d+)", text)
        lost = re.search(r"dropped by class: (.*)", text)
        drops = {name: int(count) for name, count in re.findall(r"([a-z_]+) (\d+)", lost.group(1) if lost else "")}
        return used, int(told.group(1)) if told else 0, drops, int(peak.group(1)) / 1024 if peak else 0.0


def measure(program: Path, loop: tuple[str, int, str], scale: float) -> float:
    name, turns, path = loop
    out = subprocess.run(
        [str(program), _PROGRAM.get(name, "open"), str(max(1000, int(turns * scale))), path],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    return float(out.stdout)


def main() -> int:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--scale", type=float, default=1.0, help="times the number of turns")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch_name:
        scratch = Path(scratch_name)
        program = scratch / "loops"
        subprocess.run(["cc", "-O2", "-o", str(program), str(HERE / "loops.c")], check=True)
        (scratch / "nothing.yaml").write_text(NOTHING)
        (scratch / "everything.yaml").write_text(EVERYTHING)
        variants: list[tuple[str, Path | None]] = [
            ("no agent", None),
            ("nothing wanted", scratch / "nothing.yaml"),
            ("default rules", ROOT / "rules" / "falco_rules.yaml"),
            ("every open told", scratch / "everything.yaml"),
        ]
        samples = {(loop[0], name): Sample() for loop in LOOPS for name, _ in variants}
        for _ in range(options.rounds):
            for loop in LOOPS:
                for name, rules in variants:
                    sample = samples[loop[0], name]
                    if rules is None:
                        sample.ns.append(measure(program, loop, options.scale))
                        continue
                    agent = Agent(rules)
                    sample.ns.append(measure(program, loop, options.scale))
                    cpu, told, drops, peak = agent.stop()
                    sample.cpu_s.append(cpu)
                    sample.told.append(told)
                    sample.dropped.append(sum(drops.values()))
                    sample.rss_mb = max(sample.rss_mb, peak)
                    for klass, count in drops.items():
                        sample.drops[klass] = sample.drops.get(klass, 0) + count
        report(variants, samples, options.scale)
    return 0


def report(variants: list[tuple[str, Path | None]], samples: dict[tuple[str, str], Sample], scale: float) -> None:
    print(
        f"{'loop':<14}{'agent':<17}{'ns/turn':>9}{'ratio':>7}{'loop s':>8}{'agent CPU s':>12}"
        f"{'told':>10}{'dropped':>9}{'peak MB':>9}"
    )
    for name, turns, _ in LOOPS:
        base = statistics.median(samples[name, "no agent"].ns)
        for variant, rules in variants:
            sample = samples[name, variant]
            ns = statistics.median(sample.ns)
            line = f"{name:<14}{variant:<17}{ns:>9.0f}{ns / base:>7.2f}{ns * turns * scale / 1e9:>8.2f}"
            if rules is not None:
                line += (
                    f"{statistics.median(sample.cpu_s):>12.2f}{statistics.median(sample.told):>10.0f}"
                    f"{max(sample.dropped):>9}{sample.rss_mb:>9.0f}"
                )
            print(line)
            if rules is not None:
                lost = ", ".join(f"{k} {v}" for k, v in sample.drops.items() if v)
                print(f"{'':<14}drops by class, all rounds: {lost or 'none in any of ' + str(len(sample.drops))}")


if __name__ == "__main__":
    raise SystemExit(main())
