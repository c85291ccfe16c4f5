# SPDX-License-Identifier: Apache-2.0
"""The cluster by hand: python -m e2e.cluster up, kubectl get pods -A, down."""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path
from typing import Final

from e2e.cluster.cluster import DAEMONS, Cluster
from e2e.cluster.programs import cache, programs

CLIENTS: Final = ("kubectl", "helm", "ctr", "run")


def split(words: list[str]) -> tuple[list[str], list[str]]:
    """What is for this program, and what is for the one that it runs: all behind that one's name, options too."""
    for at, word in enumerate(words):
        if word in CLIENTS and words[at - 1 : at] != ["--scratch"]:
            return words[: at + 1], words[at + 1 :]
    return words, []


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m e2e.cluster", description="A Kubernetes cluster of one node.")
    parser.add_argument("--scratch", type=Path, default=cache() / "cluster", help="where its files are (%(default)s)")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("build", help="build the programs, if they are not in the cache")
    commands.add_parser("up", help="start it, and leave it running")
    commands.add_parser("down", help="stop it and remove all of it but the logs")
    commands.add_parser("status", help="show its daemons and their memory")
    restart = commands.add_parser("restart", help="end a daemon and start it again")
    restart.add_argument("name", choices=DAEMONS)
    logs = commands.add_parser("logs", help="show the last lines of the daemons' logs")
    logs.add_argument("lines", type=int, nargs="?", default=20)
    commands.add_parser("warden", help="stop it when the standard input ends")
    for name in CLIENTS:
        commands.add_parser(
            name, add_help=False, help="run a command in it" if name == "run" else f"run {name} with it"
        )
    ours, words = split(sys.argv[1:])
    asked = parser.parse_args(ours)
    cluster = Cluster(asked.scratch, keep=True)
    match asked.command:
        case "build":
            print(programs())
        case "up":
            begun = time.monotonic()
            cluster.start()
            print(f"the node is ready after {time.monotonic() - begun:.1f} s: python -m e2e.cluster kubectl get node")
        case "down":
            cluster.stop()
        case "status":
            memory = cluster.memory_bytes()
            for name in DAEMONS:
                print(f"{name:24} {memory[name] / 2**20:6.0f} MiB" if name in memory else f"{name:24} does not run")
        case "restart":
            cluster.restart(asked.name)
        case "logs":
            print(cluster.tail(asked.lines))
        case "warden":
            sys.stdin.buffer.read()
            cluster.stop()
        case _:
            command = cluster.client(asked.command, words)
            os.execvpe(command[0], command, cluster.environment())
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except RuntimeError as failure:
        print(failure, *getattr(failure, "__notes__", ()), sep="\n", file=sys.stderr)
        sys.exit(2)
