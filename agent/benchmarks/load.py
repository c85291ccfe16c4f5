# SPDX-License-Identifier: Apache-2.0
"""Loads of rules files become a table of what their stages take.

The functions that make up a stage are wrapped while it is measured, so that the agent itself holds no timers. The time
of a stage is its own: what it asks of another stage counts there.
"""

from __future__ import annotations

import functools
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import yaml

from falco_py.config.model import Selection
from falco_py.rules import bundle, checks, compiler, emit, formats, resolve, reviews

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

REPEATS = 7
REST = "everything else"


class Stage(NamedTuple):
    """`parts`: (where a function is looked up, its name)."""

    title: str
    parts: tuple[tuple[Any, str], ...]


STAGES = (
    Stage("YAML: nodes of the documents", ((yaml, "compose_all"),)),
    Stage("parse: items", ((bundle, "read_items"), (bundle.Collector, "add"), (bundle.Collector, "check_plugins"))),
    Stage("parse: lists", ((bundle, "resolve_lists"), (bundle, "write_lists"))),
    Stage("parse: conditions", ((bundle, "parse"), (bundle, "with_exceptions"))),
    Stage("resolve: macros", ((resolve.Macros, "open_all"), (resolve.Macros, "expand"), (resolve.Macros, "uses"))),
    Stage("check: comparisons", ((checks.Checker, "findings"), (bundle, "foreign_fields"))),
    Stage("check: whole conditions", ((reviews.Review, "findings"),)),
    Stage("check: rules that others hide", ((bundle, "shadowed"),)),
    Stage("check: outputs", ((formats.Formats, "compile"),)),
    Stage("compile: terms", ((compiler.Compiler, "_condition"),)),
    Stage("compile: source", ((emit.Emitter, "__init__"), (emit.Emitter, "source"))),
    Stage("compile: Python", ((compiler.Compiler, "_function"),)),
)


class Stopwatch:
    """`spent_s`: by stage, what was spent in it and in no other that it called."""

    def __init__(self) -> None:
        self.spent_s: dict[str, float] = {}
        self._running: list[str] = []
        self._since = 0.0

    def _switch(self) -> None:
        now = time.perf_counter()
        if self._running:
            self.spent_s[self._running[-1]] = self.spent_s.get(self._running[-1], 0.0) + now - self._since
        self._since = now

    @contextmanager
    def running(self, title: str) -> Iterator[None]:
        self._switch()
        self._running.append(title)
        try:
            yield
        finally:
            self._switch()
            self._running.pop()

    def timed(self, title: str, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def wrapper(*args: Any, **options: Any) -> Any:
            with self.running(title):
                found = function(*args, **options)
                if title == STAGES[0].title or hasattr(found, "__next__"):  # made when it is asked for
                    found = iter(list(found))
                return found

        return wrapper


def split(files: Sequence[tuple[str, str]]) -> dict[str, float]:
    """What each stage of one load takes, s; all rules enabled."""
    watch = Stopwatch()
    replaced = []
    for stage in STAGES:
        for owner, name in stage.parts:
            replaced.append((owner, name, getattr(owner, name)))
            setattr(owner, name, watch.timed(stage.title, getattr(owner, name)))
    try:
        with watch.running(REST):
            load(files)
    finally:
        for owner, name, function in replaced:
            setattr(owner, name, function)
    return watch.spent_s


def load(files: Sequence[tuple[str, str]]) -> bundle.Bundle:
    return bundle.load(files, selections=[Selection(enable=True, rule="*")])


def changed(files: Sequence[tuple[str, str]], number: int) -> list[tuple[str, str]]:
    """The files with another condition, and another length, of the last rule of the last file."""
    *before, (name, text) = files
    at = text.rindex("condition:", 0, text.rindex("  output:"))
    end = text.index("\n  output:", at)
    return [*before, (name, f"{text[:end].rstrip()} and proc.name != changed_{number}{text[end:]}")]


def table(files: Sequence[tuple[str, str]]) -> Iterator[str]:
    """Of the first load, which is to be the first of the process, and of a reload with one rule changed."""
    first = split(files)
    reloads = [split(changed(files, number)) for number in range(REPEATS)]
    best = min(reloads, key=lambda one: sum(one.values()))
    yield f"{'a load, in ms':<40} {'first':>8} {'one rule changed':>17}"
    for title in (*(stage.title for stage in STAGES), REST):
        yield f"{title:<40} {first.get(title, 0.0) * 1000:>8.1f} {best.get(title, 0.0) * 1000:>17.1f}"
    plain = []
    for number in range(REPEATS):
        files_now = changed(files, REPEATS + number)
        start = time.perf_counter()
        load(files_now)
        plain.append(time.perf_counter() - start)
    yield f"{'all, with these timers':<40} {sum(first.values()) * 1000:>8.1f} {sum(best.values()) * 1000:>17.1f}"
    yield f"{'all, without':<40} {'':>8} {min(plain) * 1000:>17.1f}"
