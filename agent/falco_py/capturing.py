# SPDX-License-Identifier: Apache-2.0
"""The kernel side, the process table and the loop, put together for one run.

Invariant: nothing is attached to the kernel before its tables are filled, and whatever ends the run, programs are
detached.
"""

from __future__ import annotations

import os
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from .log import log

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .engine.alert import Alert
    from .enrich.sources import Pods
    from .kernel.load import Counters
    from .kernel.loading import Loading
    from .kernel.pushdown import Plan
    from .rules.bundle import Bundle, Rule


def own_pid(root: str) -> int:
    """The agent's pid as the host numbers it: what a /proc of the host calls self."""
    try:
        return int(os.readlink(os.path.join(root, "proc/self")))
    except (OSError, ValueError):
        return os.getpid()


@contextmanager
def begun() -> Iterator[Loading | None]:
    """Loads the BPF object while the block reads the rules; None where that cannot be: `Capturing` tells why."""
    from .kernel import host
    from .kernel.loading import begin

    try:
        host.check()
        loading = begin()
    except host.HostError:
        yield None
        return
    try:
        yield loading
    finally:
        loading.close()


class Capturing:
    """`loop` reads what `capture` tells, over `reader`, and keeps `table`."""

    def __init__(
        self,
        bundle: Bundle,
        emit: Callable[[Rule, Alert], None],
        loading: Loading | None = None,
        pods: Pods | None = None,
    ) -> None:
        """`loading` is the BPF object when it was begun, `pods` what the API server tells.

        Raises kernel.host.HostError.
        """
        from .engine.loop import Loop
        from .enrich.runtimes import Runtimes
        from .enrich.sources import Sources
        from .kernel import host
        from .kernel.load import Capture
        from .kernel.reader import Reader
        from .state.processes import ProcessTable
        from .state.users import Users

        host.check()
        root = os.environ.get("HOST_ROOT") or "/"
        log.info("Enabled event sources: syscall")
        log.info("Opening 'syscall' source with modern BPF probe.")
        self.capture = Capture(own_pid(root), loading)
        self.table = ProcessTable(root, Users(root), lookup=Sources(Runtimes(root), pods))
        self.reader = Reader(self.capture)
        self.loop = Loop(self.reader, bundle, self.table, emit)

    def ask(self, wanted: frozenset[str], plan: Plan) -> None:
        """From now on the kernel tells these events, as far as the plan leaves them. Raises kernel.host.HostError."""
        self.capture.want(wanted)
        self.capture.filter(plan)

    def start(self) -> None:
        """Raises kernel.host.HostError when the kernel lacks a hook."""
        self.capture.attach()
        self.table.scan()
        bundle = self.loop.bundle
        log.info(
            f"Capture started: {len(bundle.rules)} rules on {len(bundle.event_types)} event types, "
            f"{len(self.table)} processes known"
        )

    def run(self, stop_after_s: float | None) -> Counters:
        """Until the loop is stopped or the time has passed; what is in the rings then is handled, too."""
        try:
            self.loop.run(None if stop_after_s is None else time.monotonic() + stop_after_s)
            self.loop.drain()
            return self.capture.counters()
        finally:
            self.capture.detach()

    def close(self) -> None:
        self.capture.detach()
        self.reader.close()
        self.capture.close()
