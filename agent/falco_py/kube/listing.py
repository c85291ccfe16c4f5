# SPDX-License-Identifier: Apache-2.0
"""The bytes of a list become its items one by one, while it is still being read.

A list of all ReplicaSets may have hundreds of megabytes. Invariant: no more than ITEM_MAX bytes, and what was made of
them, are held of it at a time, whatever it is.
"""

from __future__ import annotations

from typing import Any, Final

import ijson
from ijson.common import ObjectBuilder

ITEM_MAX: Final = 8 << 20  # etcd takes 1.5 MiB
DEPTH_MAX: Final = 256  # of brackets in brackets
_STEP: Final = 1 << 16
_STARTS: Final = ("start_map", "start_array")
_ENDS: Final = ("end_map", "end_array")


class TooLargeError(Exception):
    """One item, or what is around them, has more than ITEM_MAX bytes."""


class MalformedError(Exception):
    """It is no list; the text says why."""


class Listing:
    """`feed` gives the items that are whole by now, `end` the list's metadata."""

    def __init__(self, item_max: int = ITEM_MAX) -> None:
        self._item_max = item_max
        self._events = ijson.sendable_list()
        self._reader = ijson.basic_parse_coro(self._events, use_float=True)
        self._depth = 0
        self._key = ""  # of the list itself
        self._in_array = False  # its value is one
        self._builder: ObjectBuilder | None = None  # of an item or of the metadata
        self._since_bytes = 0  # read since the last item
        self._items: list[Any] = []
        self._metadata: Any = None

    def feed(self, block: bytes) -> list[Any]:
        """Raises MalformedError and TooLargeError."""
        for begin in range(0, len(block), _STEP):
            self._since_bytes += min(len(block) - begin, _STEP)
            try:
                self._reader.send(block[begin : begin + _STEP])
            except (ijson.JSONError, StopIteration) as error:  # the latter: something follows the end
                raise MalformedError(str(error) or "something follows it") from None
            for event, value in self._events:
                self._take(event, value)
            self._events.clear()
            if self._since_bytes > self._item_max:
                raise TooLargeError
        found, self._items = self._items, []
        return found

    def end(self) -> dict[str, Any]:
        """Raises MalformedError, also when the list was cut off."""
        try:
            self._reader.close()
        except ijson.JSONError as error:
            raise MalformedError(str(error)) from None
        if not isinstance(self._metadata, dict):
            raise MalformedError("it has no metadata")
        return self._metadata

    def _take(self, event: str, value: Any) -> None:
        outside = self._depth
        if event in _STARTS:
            self._depth += 1
            if outside == 1:
                self._in_array = event == "start_array"
            if self._depth > DEPTH_MAX:
                raise MalformedError(f"it is nested more than {DEPTH_MAX} deep")
            if self._builder is None and event == "start_map" and self._begins(outside):
                self._builder = ObjectBuilder()
        elif event in _ENDS:
            self._depth = outside = outside - 1
        elif event == "map_key" and outside == 1:
            self._key = value
        if self._builder is None:
            return
        self._builder.event(event, value)
        if event == "end_map" and self._begins(outside):
            made, self._builder = self._builder.value, None
            if self._key == "items":
                self._items.append(made)
                self._since_bytes = 0
            else:
                self._metadata = made

    def _begins(self, outside: int) -> bool:
        """Whether an object within so many brackets is an item or the metadata."""
        if self._key == "items":
            return outside == 2 and self._in_array
        return outside == 1 and self._key == "metadata"
