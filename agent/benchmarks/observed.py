# SPDX-License-Identifier: Apache-2.0
"""The agent as it is, but for telling its counters while it runs: on SIGUSR2 a line of JSON on stderr.

`python -m benchmarks.observed`, with the agent's own options.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from typing import TYPE_CHECKING, Any

from falco_py.engine import loop
from falco_py.kernel import load

if TYPE_CHECKING:
    from collections.abc import Callable

MARK = "benchmark counters: "


def kept(make: Callable[..., Any], made: list[Any]) -> Callable[..., Any]:
    """As `make`; what it made is in `made` too."""

    def keep(*args: Any, **options: Any) -> Any:
        one = make(*args, **options)
        made[:] = [one]
        return one

    return keep


def main() -> int:
    from falco_py import cli

    loops: list[Any] = []
    captures: list[Any] = []
    loop.Loop = kept(loop.Loop, loops)  # type: ignore[assignment, misc]
    load.Capture = kept(load.Capture, captures)  # type: ignore[assignment, misc]

    def tell(_number: int, _frame: object) -> None:
        counters = captures[0].counters()
        told = {
            "records": getattr(loops[0], "records", loops[0].events),
            "tested": loops[0].events,
            "sent": counters.total_sent,
            "dropped": counters.total_dropped,
            "shed": counters.total_shed,
        }
        os.write(2, f"{MARK}{json.dumps(told)}\n".encode())

    signal.signal(signal.SIGUSR2, tell)
    return cli.main(sys.argv[1:])


if __name__ == "__main__":
    raise SystemExit(main())
