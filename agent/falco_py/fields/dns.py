# SPDX-License-Identifier: Apache-2.0
"""Host names become sets of addresses, for the `fd.*ip.name` fields.

Invariant: nobody who asks ever waits for a name server: an answer is what is known now. Names are looked up in the
background, again after `TTL_S`; a name that could not be looked up keeps its last addresses.
"""

from __future__ import annotations

import socket
import threading
import time
from collections import OrderedDict
from ipaddress import IPv4Address, IPv6Address, ip_address
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    Address = IPv4Address | IPv6Address
    LookUp = Callable[[str], "frozenset[Address]"]

TTL_S = 60.0
NAMES_MAX = 4096
WORKERS = 2
_IDLE_S = 30.0
_HOSTS_MAX_BYTES = 1024 * 1024
_SETS_MAX = 1024


def system_look_up(name: str) -> frozenset[Address]:
    """All addresses of a name by the machine's resolver; raises OSError."""
    found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    return frozenset(ip_address(str(entry[4][0]).partition("%")[0]) for entry in found)


def hosts_file(path: str = "/etc/hosts") -> dict[str, frozenset[Address]]:
    """Names of the hosts file, in lower case."""
    names: dict[str, set[Address]] = {}
    try:
        with open(path, "rb") as file:
            lines = file.read(_HOSTS_MAX_BYTES).decode("utf-8", "replace").splitlines()
    except OSError:
        return {}
    for line in lines:
        words = line.partition("#")[0].split()
        if len(words) < 2:
            continue
        try:
            address = ip_address(words[0].partition("%")[0])
        except ValueError:
            continue
        for name in words[1:]:
            names.setdefault(name.lower(), set()).add(address)
    return {name: frozenset(addresses) for name, addresses in names.items()}


class _Name:
    __slots__ = ("addresses", "asked_s", "waiting")

    def __init__(self, addresses: frozenset[Address]) -> None:
        self.addresses = addresses
        self.asked_s = -TTL_S
        self.waiting = False


class Resolver:
    """Known names. Bounded by `names_max`; the least recently asked goes first. `failures` counts failed look-ups."""

    def __init__(
        self,
        look_up: LookUp = system_look_up,
        hosts: Callable[[], dict[str, frozenset[Address]]] = hosts_file,
        now_s: Callable[[], float] = time.monotonic,
        names_max: int = NAMES_MAX,
    ) -> None:
        self._look_up = look_up
        self._hosts_reader = hosts
        self._hosts: dict[str, frozenset[Address]] | None = None
        self._now_s = now_s
        self._names: OrderedDict[str, _Name] = OrderedDict()
        self._names_max = names_max
        self._queue: SimpleQueue[str] = SimpleQueue()
        self._workers = 0
        self._lock = threading.Lock()
        self.failures = 0

    def addresses(self, name: str) -> frozenset[Address]:
        """What is known of a name; starts a look-up when that is nothing or old."""
        key = name.lower().rstrip(".")
        with self._lock:
            entry = self._names.get(key)
            if entry is None:
                if self._hosts is None:
                    self._hosts = self._hosts_reader()
                entry = self._names[key] = _Name(self._hosts.get(key, frozenset()))
                if len(self._names) > self._names_max:
                    self._names.popitem(last=False)
            else:
                self._names.move_to_end(key)
            now = self._now_s()
            if not entry.waiting and now - entry.asked_s >= TTL_S:
                entry.waiting = True
                entry.asked_s = now
                self._queue.put(key)
                if self._workers < WORKERS:
                    self._workers += 1
                    threading.Thread(target=self._work, name="resolver", daemon=True).start()
            return entry.addresses

    def name_of(self, address: Address) -> str | None:
        """A known name of an address."""
        with self._lock:
            return next((name for name, entry in self._names.items() if address in entry.addresses), None)

    def _work(self) -> None:
        while True:
            try:
                name = self._queue.get(timeout=_IDLE_S)
            except Empty:
                with self._lock:
                    if self._queue.empty():
                        self._workers -= 1
                        return
                continue
            addresses: frozenset[Address] | None
            try:
                addresses = self._look_up(name)
            except (OSError, ValueError):
                addresses = None
            with self._lock:
                entry = self._names.get(name)
                if addresses is None:
                    self.failures += 1
                if entry is not None:
                    entry.waiting = False
                    if addresses is not None:
                        entry.addresses = addresses | (self._hosts or {}).get(name, frozenset())


_resolver = Resolver()


class DomainSet:
    """Host names as a set of addresses: `address in DomainSet(names)`. Making one starts the look-ups."""

    __slots__ = ("_literals", "_names", "_resolver")

    def __init__(self, names: Iterable[str], resolver: Resolver | None = None) -> None:
        self._resolver = resolver if resolver is not None else _resolver
        literals = set()
        rest = []
        for name in names:
            try:
                literals.add(ip_address(name))
            except ValueError:
                rest.append(name)
        self._literals = frozenset(literals)
        self._names = tuple(rest)
        for name in rest:
            self._resolver.addresses(name)

    def __contains__(self, address: object) -> bool:
        if address in self._literals:
            return True
        resolver = self._resolver
        return any(address in resolver.addresses(name) for name in self._names)


_sets: dict[tuple[str, ...], DomainSet] = {}


def domain_match(address: Address | None, names: tuple[str, ...]) -> bool:
    """Whether an address belongs to one of the names; False for no address."""
    if address is None:
        return False
    known = _sets.get(names)
    if known is None:
        if len(_sets) >= _SETS_MAX:
            _sets.clear()
        known = _sets[names] = DomainSet(names)
    return address in known


def domain_name(address: Address | None) -> str | None:
    """A known name of an address, for output."""
    return None if address is None else _resolver.name_of(address)
