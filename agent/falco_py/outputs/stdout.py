# SPDX-License-Identifier: Apache-2.0
"""Alerts become lines on standard output."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Any, ClassVar, Final

from .lines import Lines
from .output import Output, OutputError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .item import Item

_STDOUT: Final = 1


class Stdout(Output):
    """`on_gone` is called, in the output's thread, when the reader has gone."""

    name: ClassVar[str] = "stdout"

    def __init__(self, *, fd: int = _STDOUT, on_gone: Callable[[], None] = lambda: None, **settings: Any) -> None:
        super().__init__(**settings)
        self._fd = fd
        self._on_gone = on_gone
        self._lines = Lines(self.timeout_ms / 1000 or inf)

    def deliver(self, items: Sequence[Item]) -> None:
        try:
            self._lines.write(self._fd, items)
        except OutputError as error:
            if error.gone:
                self.gone = True
                self._on_gone()
            raise
