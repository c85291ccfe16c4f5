# SPDX-License-Identifier: Apache-2.0
"""Host names of rules become sets of addresses, for the `fd.*ip.name` fields.

Invariant: nobody who asks waits for a name server: an answer is what is known at that moment. One background thread
looks names up (the machine's resolver: hosts file, then DNS) and again every `TTL_S`; a name that is not resolved
yet, or that does not exist, has no addresses.
"""

from __future__ import annotations

import socket
import threading
import time
from ipaddress import IPv4Address, IPv6Address, ip_address
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    Address = IPv4Address | IPv6Address
    LookUp = Callable[[str], "frozenset[Address]"]

TTL_S = 60.0
FORGET_S = 600.0  # a name that nobody asked for that long gives its place to a new one
NAMES_MAX = 256
_IDLE_S = 30.0
_NOT_THERE = frozenset({socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)})


def system_look_up(name: str) -> frozenset[Address]:
    """All addresses of a name, none when it does not exist; raises OSError when that could not be found out."""
    try:
        found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        if error.errno in _NOT_THERE:
            return frozenset()
        raise
    return frozenset(_plain(str(entry[4][0])) for entry in found)


def _plain(text: str) -> Address:
    """v4-mapped addresses become IPv4, as those of sockets do."""
    address = ip_address(text.partition("%")[0])
    return getattr(address, "ipv4_mapped", None) or address


class _Name:
    __slots__ = ("addresses", "asked_s", "looked_up_s", "waiting")

    def __init__(self, now_s: float) -> None:
        self.addresses: frozenset[Address] = frozenset()
        self.asked_s = now_s
        self.looked_up_s = now_s
        self.waiting = False


class Resolver:
    """Known names and their addresses.

    Bounded by `names_max`; when full, names not asked for longer than `FORGET_S` go, and without such a new name is
    not looked up (`refused`). `failures` counts look-ups without an answer; the name keeps its last addresses.
    """

    def __init__(
        self,
        look_up: LookUp = system_look_up,
        now_s: Callable[[], float] = time.monotonic,
        names_max: int = NAMES_MAX,
    ) -> None:
        self._look_up = look_up
        self._now_s = now_s
        self._names_max = names_max
        self._names: dict[str, _Name] = {}
        self._queue: SimpleQueue[str] = SimpleQueue()
        self._lock = threading.Lock()
        self._working = False
        self.failures = 0
        self.refused = 0

    def addresses(self, name: str) -> frozenset[Address]:
        """What is known of a name; starts a look-up when that is nothing or old."""
        key = name.lower().rstrip(".")
        now = self._now_s()
        with self._lock:
            entry = self._names.get(key)
            if entry is None:
                if not self._make_room(now):
                    self.refused += 1
                    return frozenset()
                entry = self._names[key] = _Name(now)
                self._ask(key, entry, now)
            elif now - entry.looked_up_s >= TTL_S:
                self._ask(key, entry, now)
            entry.asked_s = now
            return entry.addresses

    def name_of(self, address: Address) -> str | None:
        """A known name of an address."""
        with self._lock:
            return next((name for name, entry in self._names.items() if address in entry.addresses), None)

    def _make_room(self, now: float) -> bool:
        if len(self._names) < self._names_max:
            return True
        for name in [name for name, entry in self._names.items() if now - entry.asked_s > FORGET_S]:
            del self._names[name]
        return len(self._names) < self._names_max

    def _ask(self, key: str, entry: _Name, now: float) -> None:
        if entry.waiting:
            return
        entry.waiting = True
        entry.looked_up_s = now
        self._queue.put(key)
        if not self._working:
            self._working = True
            threading.Thread(target=self._work, name="resolver", daemon=True).start()

    def _work(self) -> None:
        while True:
            try:
                name = self._queue.get(timeout=_IDLE_S)
            except Empty:
                with self._lock:
                    if self._queue.empty():
                        self._working = False
                        return
                continue
            addresses: frozenset[Address] | None
            try:
                addresses = self._look_up(name)
            except (OSError, ValueError):  # ValueError: not a name that can be asked for
                addresses = None
            with self._lock:
                entry = self._names.get(name)
                if entry is not None:
                    entry.waiting = False
                    if addresses is not None:
                        entry.addresses = addresses
                self.failures += addresses is None


_resolver = Resolver()


def domain_match(address: Address | None, names: tuple[str, ...], resolver: Resolver = _resolver) -> bool:
    """Whether an address belongs to one of the names, or is one of them; False for no address."""
    if address is None:
        return False
    text = str(address)
    matches = False
    for name in names:  # to the end, so that all of them are looked up from the first event on
        if name == text or address in resolver.addresses(name):
            matches = True
    return matches


def domain_text(address: Address | None, resolver: Resolver = _resolver) -> str | None:
    """A known name of an address, else the address, for output."""
    return None if address is None else resolver.name_of(address) or str(address)
