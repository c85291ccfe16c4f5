# SPDX-License-Identifier: Apache-2.0
"""What watching costs: loads under several settings as a table, and single figures.

Ratios mean something, absolute times depend on the machine and its neighbours. `ratio` is the median over the rounds
of what a load takes with an agent and without, `from` and `to` the lowest and the highest. A turn of `find` and of
`compile` is the whole of it, that of a server a request. `BPF ns/turn` is what all programs of the agent ran for each
turn, `empty` the same of a program that does nothing at the end of every call; both while the kernel times BPF
programs, which adds to each run. `agent CPU s`, `events` (read by Python), `dropped` (the most in a round) and
`peak MB` are those of the load alone.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from . import figures, programs
from .children import Children
from .loads import Load, build_loops, loops, ordinary_file, servers, work
from .rounds import Rounds, say
from .settings import BASE, UPSTREAM, settings, upstream_files
from .table import table

ROUNDS, LOOP_S, REQUESTS = 5, 0.25, 20_000
QUICK_ROUNDS, QUICK_LOOP_S, QUICK_REQUESTS = 1, 0.06, 3000
MACHINE_CANNOT = 2
INTERRUPTED = 130


def listed(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("--quick", action="store_true", help="less of everything: about a minute")
    made.add_argument("--rounds", type=int, metavar="N", help=f"of the table (default: {ROUNDS}, quick {QUICK_ROUNDS})")
    made.add_argument(
        "--loop-s", type=float, metavar="S", help=f"a loop takes (default: {LOOP_S}, quick {QUICK_LOOP_S})"
    )
    made.add_argument("--loads", type=listed, metavar="A,B", help="only loads whose names hold one of these words")
    made.add_argument("--settings", type=listed, metavar="A,B", help=f"only these settings, and '{BASE}'")
    made.add_argument(
        "--figures", type=listed, metavar="A,B", default=list(figures.NAMES),
        help=f"of {', '.join(figures.NAMES)}; 'none': no single figures",
    )  # fmt: skip
    made.add_argument("--no-table", action="store_true", help="single figures only")
    return made


def chosen(names: list[str], words: list[str] | None) -> list[str]:
    """Those that hold one of the words, all without words."""
    return [name for name in names if not words or any(word in name for word in words)]


def empty_program(children: Children, scratch: Path) -> programs.Empty | None:
    if shutil.which("clang") is None:
        print("no empty BPF program to compare with: clang is not installed")
        return None
    return programs.Empty(children, scratch)


def tell_of_others(names: list[str]) -> None:
    if names:
        print(f"other BPF programs trace this machine, and what they cost is in every figure: {', '.join(names)}")
    else:
        print("no other BPF program traces this machine")


def make_table(options: argparse.Namespace, children: Children, scratch: Path, program: Path) -> None:
    requests = QUICK_REQUESTS if options.quick else REQUESTS
    found: list[Load] = [*loops(children, program, scratch), *work(children, scratch)]
    names = chosen([load.name for load in found], options.loads)
    loads = [load for load in found if load.name in names]
    for server in servers(children, scratch, requests) if not options.loads else ():
        if isinstance(server, str):
            print(server)
        else:
            loads.append(server)
    offered = list(settings(scratch))
    wanted = chosen([setting.name for setting in offered], options.settings)
    if not upstream_files():
        print(f"no setting 'upstream rules': there are no rules files in {os.path.relpath(UPSTREAM)}")
    loop_s = options.loop_s or (QUICK_LOOP_S if options.quick else LOOP_S)
    say("finding how many turns a loop makes")
    rounds = Rounds(
        children,
        scratch,
        [setting for setting in offered if setting.name in wanted or setting.name == BASE],
        [load.sized(loop_s) for load in loads],
        empty_program(children, scratch),
    )
    count = options.rounds or (QUICK_ROUNDS if options.quick else ROUNDS)
    rounds.run(count)
    print(f"files are opened by the path {ordinary_file() or 'of a made one'}\n\nmedians of {count} rounds")
    for line in table(rounds.samples, BASE):
        print(line)
    print("turns: " + ", ".join(f"{load.name} {load.turns:,}" for load in rounds.loads if load.loop))
    if rounds.disturbed:
        print(
            f"disturbed: at {rounds.disturbed_looks} of {rounds.looks} looks others' programs were attached: "
            f"{', '.join(sorted(rounds.disturbed))}"
        )


def run(options: argparse.Namespace) -> int:
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="falco-py-bench-") as name, Children() as children:
        scratch = Path(name)
        system = f"Linux {platform.release()}, {platform.machine()}, {os.cpu_count()} CPUs"
        print(f"{system}, Python {platform.python_version()}")
        tell_of_others(programs.foreign())
        program = build_loops(children, scratch)
        if not options.no_table:
            make_table(options, children, scratch, program)
            print(flush=True)
        scope = figures.QUICK if options.quick else figures.Scope()
        maker = figures.Figures(children, scratch, program, scope)
        for figure in figures.NAMES:
            if figure in options.figures:
                say(f"figure: {figure}")
                for line in getattr(maker, figure)():
                    print(line, flush=True)
        tell_of_others(programs.foreign())
    say(f"took {time.monotonic() - began:.0f} s")
    return 0


def interrupt(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt


def main() -> int:
    options = parser().parse_args()
    if os.geteuid() != 0:
        print("benchmarks: BPF programs can be loaded by root only: run it as root", file=sys.stderr)
        return MACHINE_CANNOT
    signal.signal(signal.SIGTERM, interrupt)
    try:
        return run(options)
    except KeyboardInterrupt:
        say("interrupted")
        return INTERRUPTED
    except (RuntimeError, OSError, subprocess.SubprocessError) as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return MACHINE_CANNOT


if __name__ == "__main__":
    raise SystemExit(main())
