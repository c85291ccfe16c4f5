# SPDX-License-Identifier: Apache-2.0
"""What became of the kernel's records since the start, by class; kernel.load.Counters is the real one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping


class Counted(Protocol):
    """By class of calls (kernel.tables.CLASSES), but `errors`: by place."""

    @property
    def sent(self) -> Mapping[str, int]: ...
    @property
    def dropped(self) -> Mapping[str, int]: ...
    @property
    def shed(self) -> Mapping[str, int]: ...
    @property
    def errors(self) -> Mapping[str, int]: ...
