# SPDX-License-Identifier: Apache-2.0
"""What holds of a condition becomes text: one sentence that says why, and the tree with a verdict a line.

Invariant: what comes from files or events is made visible, so no line holds control characters.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from ..visible import visible
from .truth import Finding, decider, reads, unsaid

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .outline import Clause
    from .truth import Truth

WORDS: dict[Truth, str] = {True: "true", False: "false", None: "unknown"}
_MARK = "  <-- this decides"
_LONGEST = 300  # characters of a clause in a sentence
_WIDTH = 9  # of the column of verdicts


def because(finding: Finding) -> str:
    """Why the condition is true, false or unknown, as the rest of a sentence."""
    if finding.truth is None:
        return f"the event does not say {asked(finding)}"
    last = decider(finding)
    path = _path(finding, last)
    negated = sum(one.clause.kind == "not" for one in path) % 2 == 1
    if last is finding and finding.truth:
        return "every part of the condition holds"
    against = ", and the rule wants it false" if negated and last.truth and not finding.truth else ""
    exception = next((one.clause for one in path if one.clause.kind == "exception"), None)
    if exception is not None and against:
        return f"{title(exception)} applies: {_told(last)}"
    where = _where(path)
    if last.clause.kind == "check":
        return f"{line(last.clause)} is {WORDS[last.truth]}{_values(last)}{where}{against}"
    if last.truth:
        return f"all of this holds{where}{against}: {_told(last)}"
    return f"no alternative holds{where}: {_told(last)}"


def _values(finding: Finding) -> str:
    """What was read, unless the comparison says it itself."""
    check = finding.clause.check
    told = "" if check is not None and check.op == "=" and finding.truth else reads(finding)
    return f" ({told})" if told else ""


def _told(finding: Finding) -> str:
    """A comparison, or the parts of a group, with what they read."""
    return "; ".join(line(one.clause) + _values(one) for one in (finding.terms or (finding,)))


def asked(finding: Finding) -> str:
    """The fields that would have to be known, as words."""
    return _and(unsaid(finding))


def _path(finding: Finding, last: Finding) -> list[Finding]:
    """From the whole condition to the part that decided."""
    path = [finding]
    while path[-1] is not last:
        one = path[-1]
        if one.clause.kind in ("and", "or"):
            path.append(next(term for term in one.terms if term.truth is one.truth))
        else:
            path.append(one.terms[0])
    return path


def _where(path: list[Finding]) -> str:
    """The macro that the part stands in."""
    names = [one.clause.name for one in path if one.clause.kind == "macro"]
    return f" in macro {names[0]}" if names else ""


def _and(words: list[str]) -> str:
    if len(words) < 2:
        return "".join(words)
    return f"{', '.join(words[:-1])} and {words[-1]}"


def line(clause: Clause) -> str:
    """A clause on one line."""
    text = _line(clause)
    return text if len(text) <= _LONGEST else text[:_LONGEST] + "..."


def _line(clause: Clause) -> str:
    if clause.kind == "check":
        return visible(clause.text)
    if clause.kind in ("macro", "exception"):
        return title(clause)
    if clause.kind == "not":
        return f"not {_line(clause.terms[0])}"
    return "(" + f" {clause.kind} ".join(map(_line, clause.terms)) + ")"


def title(clause: Clause) -> str:
    """The name of a macro or exception."""
    return f"{clause.name} (macro)" if clause.kind == "macro" else f"exception '{visible(clause.name)}'"


def tree(clause: Clause) -> list[str]:
    """The lines of a condition."""
    return [f"{'  ' * depth}{head}" for depth, head, _ in _rows(_untried(clause), 0, "")]


def _untried(clause: Clause) -> Finding:
    return Finding(clause, None, tuple(map(_untried, clause.terms)))


def verdicts(finding: Finding) -> list[str]:
    """The lines of a condition, each with its verdict, the values it read, and a mark at what decided."""
    last = decider(finding)
    marked = last if finding.truth is not None and last is not finding else None
    lines = []
    for depth, head, one in _rows(finding, 0, ""):
        told = reads(one)
        line = f"{WORDS[one.truth]:<{_WIDTH}}{'  ' * depth}{head}"
        lines.append(line + (f"    [{told}]" if told else "") + (_MARK if marked in _same_line(one) else ""))
    return lines


def _same_line(finding: Finding) -> list[Finding]:
    """The finding and those below it that share its line."""
    made = [finding]
    while len(made[-1].terms) == 1 and made[-1].clause.kind in ("not", "macro", "exception"):
        made.append(made[-1].terms[0])
    return made


def _rows(finding: Finding, depth: int, before: str, head: Finding | None = None
                ) -> Iterator[tuple[int, str, Finding]]:  # fmt: skip
    """(depth, text, finding). A `not`, a macro and its group share a line, whose verdict is that of the outermost."""
    clause = finding.clause
    if clause.kind == "check":
        yield depth, before + visible(clause.text), _headed(head, finding)
    elif clause.kind == "not":
        yield from _rows(finding.terms[0], depth, f"{before}not ", head or finding)
    elif clause.kind in ("macro", "exception"):
        yield from _rows(finding.terms[0], depth, f"{before}{title(clause)}: ", head or finding)
    else:
        yield depth, before + clause.kind, head or finding
        for term in finding.terms:
            yield from _rows(term, depth + 1, "")


def _headed(head: Finding | None, leaf: Finding) -> Finding:
    """The outermost finding of a line, with what the comparison read."""
    if head is None:
        return leaf
    return replace(head, values=leaf.values, unsaid=leaf.unsaid)
