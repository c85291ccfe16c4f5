# SPDX-License-Identifier: Apache-2.0
"""The `append_output` entries that fit a rule become text behind its output and fields beside it.

Invariant: a suggested field that the output prints already is not printed twice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ..config.model import AppendOutput
    from .collector import RuleDef

# The pod as the k8smeta plugin names it; its other name, k8s.pod.name, is suggested as well.
_TWICE = frozenset(("k8smeta",))


def suggested_fields(catalogue: Any, source: str) -> tuple[str, ...]:
    """The fields that the catalogue suggests for every output of `source`, those of `static_fields` last."""
    constants: tuple[Any, ...] = getattr(catalogue, "static_fields", tuple)()
    rows = [*catalogue.CATALOGUE.values(), *constants]
    return tuple(
        row.name for row in rows if row.suggested and row.source in ("any", source) and row.klass not in _TWICE
    )


def fitting(entries: Iterable[AppendOutput], rule: RuleDef) -> list[AppendOutput]:
    return [entry for entry in entries if entry.match.fits(rule.name, rule.source, rule.tags)]


def suffix(entries: Sequence[AppendOutput], suggested: Iterable[str], printed: Iterable[str]) -> str:
    """What follows the output of a rule that prints the fields `printed`; empty, or it begins with a blank."""
    parts: list[str] = []
    seen = set(printed)
    for entry in entries:
        if entry.extra_output:
            parts.append(entry.extra_output)
            seen |= {name for name in suggested if f"%{name}" in entry.extra_output}
        if not entry.suggested_output:
            continue
        for name in suggested:
            if name not in seen:
                seen.add(name)
                parts.append(f"{name.replace('.', '_')}=%{name}")
    return "".join(" " + part for part in parts)


def extra_fields(entries: Iterable[AppendOutput]) -> list[tuple[str, str | None]]:
    """(key, format) each; without a format the key is the field."""
    return [one for entry in entries for one in entry.extra_fields]
