# SPDX-License-Identifier: Apache-2.0
"""One asyncio loop in a thread of its own: whatever waits for the network runs there.

Invariant: the thread starts with the first coroutine, so that an agent without network has neither it nor asyncio.
"""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Coroutine
    from concurrent.futures import Future

T = TypeVar("T")
_CLOSE_S = 5.0


class Background:
    """`start` and `call` may be used from any thread but the loop's own."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    def start(self, coroutine: Coroutine[Any, Any, T]) -> Future[T]:
        """Runs it in the loop; the future holds what it gives or raises, and cancels it."""
        import asyncio

        return asyncio.run_coroutine_threadsafe(coroutine, self._running())

    def call(self, coroutine: Coroutine[Any, Any, T], timeout_s: float) -> T:
        """What it gives. Raises what it raises, and TimeoutError after `timeout_s`, when it is cancelled."""
        future = self.start(coroutine)
        try:
            return future.result(timeout_s)
        finally:
            future.cancel()

    def _running(self) -> asyncio.AbstractEventLoop:
        import asyncio

        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(target=self._loop.run_forever, name="network", daemon=True)
                self._thread.start()
            return self._loop

    def close(self) -> None:
        """Cancels what still runs and ends the thread."""
        with self._lock:
            loop, thread, self._loop, self._thread = self._loop, self._thread, None, None
        if loop is None or thread is None:
            return
        import asyncio

        async def cancel() -> None:
            tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

        with suppress(TimeoutError):
            asyncio.run_coroutine_threadsafe(cancel(), loop).result(_CLOSE_S)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(_CLOSE_S)
        if not thread.is_alive():
            loop.close()
