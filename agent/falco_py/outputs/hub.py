# SPDX-License-Identifier: Apache-2.0
"""One alert becomes one for each output that is enabled; outputs come and go while the agent runs.

Invariant: `send` and `tell` never wait. An output that is replaced delivers what it had before its successor starts.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Final

from ..log import log

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from .item import Item
    from .output import Output

CLOSE_S: Final = 5.0  # for all outputs together, at the end of the agent and at a reload


class Hub:
    """`outputs` by name; `lost_before`: what outputs lost that are no more."""

    def __init__(self) -> None:
        self.outputs: dict[str, Output] = {}
        self.lost_before = 0
        self._all: tuple[Output, ...] = ()
        self._slow: dict[str, float] = {}  # since when the delivery runs that was told last, by output
        self._leaving: list[threading.Thread] = []

    def send(self, item: Item) -> None:
        for output in self._all:
            output.offer(item)

    def tell(self) -> None:
        for output in self._all:
            output.tell()

    def reopen(self) -> None:
        for output in self._all:
            output.reopen()
        self.tell()

    @property
    def lost(self) -> int:
        return self.lost_before + sum(output.lost for output in self._all)

    def working(self) -> bool:
        """Whether any output can still take alerts."""
        return any(not output.gone for output in self._all)

    def adopt(self, new: Mapping[str, Output], wanted: Iterable[str]) -> None:
        """`new` takes the place of outputs of the same names; those not `wanted` leave; the rest goes on as it is."""
        old = self.outputs
        self.outputs = {name: new[name] if name in new else old[name] for name in wanted}
        self._all = tuple(self.outputs.values())
        for name, output in new.items():
            before = old.get(name)
            if before is None:
                output.start()
            else:
                self._leave(before, output)
        for name, output in old.items():
            if name not in self.outputs:
                self._leave(output, None)

    def _leave(self, output: Output, successor: Output | None) -> None:
        def leave() -> None:
            output.close(CLOSE_S)
            self.lost_before += output.lost
            if successor is not None:
                successor.start()

        thread = threading.Thread(target=leave, name=f"close {output.name}", daemon=True)
        thread.start()
        self._leaving = [one for one in self._leaving if one.is_alive()] + [thread]

    def watch(self, now_s: float) -> None:
        """Tells of a delivery that takes longer than output_timeout, once; to be called now and then."""
        for output in self._all:
            since_s = output.busy_since_s
            if not since_s or not output.timeout_ms or now_s - since_s < output.timeout_ms / 1000:
                continue
            if self._slow.get(output.name) != since_s:
                self._slow[output.name] = since_s
                log.critical(f'"{output.name}" output timeout: it took more than {output.timeout_ms} ms over one '
                             f"delivery; {output.waiting} alerts wait for it, other outputs go on")  # fmt: skip

    def close(self, timeout_s: float = CLOSE_S) -> None:
        """Every output delivers what it has; all together have `timeout_s`."""
        ends_s = time.monotonic() + timeout_s
        for thread in self._leaving:
            thread.join(max(0.0, ends_s - time.monotonic()))
        threads = [
            threading.Thread(target=output.close, args=(max(0.1, ends_s - time.monotonic()),), daemon=True)
            for output in self._all
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(max(0.5, ends_s - time.monotonic() + 0.5))
