# SPDX-License-Identifier: Apache-2.0
"""The kernel's counters become the alert "Falco internal: syscall event drop", as `syscall_event_drops` says.

Once a second what was lost is compared with what happened. Lost is what found the ring full (dropped), and what only
rules could match that were not asked (shed). Invariant: Falco's fields tell of the last second; ours of all that was
lost since the alert before, so that nothing lost between two alerts goes untold.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from ..log import log
from ..rules.priority import SHEDDING, Priority
from .alert import InternalAlert

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from ..config import Drops
    from ..events.counted import Counted

RULE: Final = "Falco internal: syscall event drop"
INTERVAL_S: Final = 1.0
MAX_NAMED: Final = 10  # rules that an alert names
_SIMULATED: Final = "Simulating syscall event drop"


class Watched(NamedTuple):
    """A rule and the classes of calls that it looks at."""

    name: str
    priority: int
    classes: frozenset[str]


class TokenBucket:
    """Gives `rate` tokens a second and holds at most `most`; it starts full."""

    __slots__ = ("_at_s", "_tokens", "most", "rate")

    def __init__(self, rate: float, most: float) -> None:
        self.rate = rate
        self.most = most
        self._tokens = most
        self._at_s: float | None = None

    def claim(self, now_s: float) -> bool:
        """Takes a token, if there is one."""
        if self._at_s is not None:
            self._tokens = min(self.most, self._tokens + self.rate * max(0.0, now_s - self._at_s))
        self._at_s = now_s
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


class DropMonitor:
    """`occurrences`: seconds in which too much was lost; `actions`: how often something was done about it.

    `emit` gets the alerts; `ended` is set when the agent is to end.
    """

    def __init__(self, settings: Drops, rules: Iterable[Watched], emit: Callable[[InternalAlert], None]) -> None:
        self.emit = emit
        self.occurrences = 0
        self.actions = 0
        self.ended = False
        self.set_up(settings)
        self.watch(rules)
        self._before: Counted | None = None
        self._blind_since_s: float | None = None
        self._dropped: dict[str, int] = {}  # since the alert before
        self._shed: dict[str, int] = {}
        self._level = 0  # the highest since then

    def set_up(self, settings: Drops) -> None:
        """Other settings; what was counted stays."""
        if getattr(self, "settings", None) != settings:
            self.settings = settings
            self._bucket = TokenBucket(settings.rate, settings.max_burst)
            self._threshold = 0.0 if settings.simulate else settings.threshold

    def watch(self, rules: Iterable[Watched]) -> None:
        """The rules that may miss something from now on."""
        self._rules = sorted(rules, key=lambda rule: rule.priority)

    def check(self, now_s: float, ts_ns: int, counters: Counted, level: int) -> None:
        """To be called every INTERVAL_S. `level`: the highest of shedding since the call before."""
        before, self._before = self._before, counters
        if before is None:
            return
        dropped, shed = _grown(before.dropped, counters.dropped), _grown(before.shed, counters.shed)
        lost = sum(dropped.values()) + sum(shed.values())
        happened = sum(_grown(before.sent, counters.sent).values()) + lost
        _add(self._dropped, dropped)
        _add(self._shed, shed)
        self._level = max(self._level, level)
        if not lost:
            self._blind_since_s = None
        elif self._blind_since_s is None:
            self._blind_since_s = now_s - INTERVAL_S
        if self.settings.simulate:
            log.info(_SIMULATED)
            lost += 1
        if not lost or lost <= self._threshold * happened:
            return
        self.occurrences += 1
        if not self._bucket.claim(now_s):
            log.debug("Syscall event drop but token bucket depleted, skipping actions")
            return
        self.actions += 1
        message = f"{RULE}. {lost} system calls dropped in last second."
        actions = self.settings.actions
        if "log" in actions:
            log.critical(message)
        if "alert" in actions:
            fields = {
                **_falcos_fields(happened, lost, dropped, _grown(before.errors, counters.errors)),
                **self._own_fields(now_s, shed),
            }
            self.emit(InternalAlert(RULE, Priority.DEBUG, "internal", (), ts_ns, message, fields))
            self._dropped, self._shed, self._level = {}, {}, level
        if "exit" in actions:
            log.critical(message)
            log.critical("Exiting.")
            self.ended = True

    def _own_fields(self, now_s: float, shed: Mapping[str, int]) -> dict[str, str]:
        since_s = self._blind_since_s
        return {
            "n_shed_total": str(sum(shed.values())),
            **{f"n_shed_{name}_exit": str(count) for name, count in shed.items()},
            "dropped_since_last": _listed(self._dropped),
            "shed_since_last": _listed(self._shed),
            "shed_below": SHEDDING[self._level].text if self._level else "",
            "blind_for_s": "0.0" if since_s is None else f"{now_s - since_s:.1f}",
            "blind_rules": self.blind_rules(),
        }

    def blind_rules(self) -> str:
        """The rules that may have missed something since the alert before, the most severe first; at most MAX_NAMED."""
        dropped = {name for name, count in self._dropped.items() if count}
        shed = {name for name, count in self._shed.items() if count}
        least = SHEDDING[self._level]
        names = [
            rule.name
            for rule in self._rules
            if rule.classes & dropped or (rule.priority > least and rule.classes & shed)
        ]
        more = len(names) - MAX_NAMED
        return ", ".join(names[:MAX_NAMED]) + (f" and {more} more" if more > 0 else "")


def _falcos_fields(happened: int, lost: int, dropped: Mapping[str, int], errors: Mapping[str, int]) -> dict[str, str]:
    """As Falco has them, all texts. What is written into a full ring is Falco's buffer; pages are never waited for."""
    return {
        "n_evts": str(happened),
        "n_drops": str(lost),
        "n_drops_buffer_total": str(sum(dropped.values())),
        **{f"n_drops_buffer_{name}_exit": str(count) for name, count in dropped.items()},
        "n_drops_scratch_map": str(errors.get("scratch", 0)),
        "n_drops_page_faults": "0",
        "n_drops_bug": "0",
        "ebpf_enabled": "1",
    }


def _grown(before: Mapping[str, int], now: Mapping[str, int]) -> dict[str, int]:
    return {name: count - before[name] for name, count in now.items()}


def _add(sums: dict[str, int], more: Mapping[str, int]) -> None:
    for name, count in more.items():
        sums[name] = sums.get(name, 0) + count


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items() if count)
