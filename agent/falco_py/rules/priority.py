# SPDX-License-Identifier: Apache-2.0
"""Text becomes a priority. Invariant: 0 is the most severe, as in syslog."""

from __future__ import annotations

from enum import IntEnum


class Priority(IntEnum):
    EMERGENCY = 0
    ALERT = 1
    CRITICAL = 2
    ERROR = 3
    WARNING = 4
    NOTICE = 5
    INFORMATIONAL = 6
    DEBUG = 7

    @property
    def text(self) -> str:
        """As alerts print it: `Emergency` ... `Informational`, `Debug`."""
        return self.name.capitalize()

    @property
    def short(self) -> str:
        """As the rule tables of the documentation print it: `EMERGENCY` ... `INFO`, `DEBUG`."""
        return "INFO" if self is Priority.INFORMATIONAL else self.name

    @classmethod
    def parse(cls, text: str) -> Priority | None:
        """The priority of any letter case, `info` included; None when there is no such priority."""
        word = text.upper()
        return cls.INFORMATIONAL if word == "INFO" else cls.__members__.get(word)


SHEDDING = (Priority.DEBUG, Priority.NOTICE, Priority.WARNING, Priority.ERROR, Priority.CRITICAL)
"""Of each level of shedding: the least severe rules that are still asked. LEVELS of them, bpf/lib/types.h."""
