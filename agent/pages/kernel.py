# SPDX-License-Identifier: Apache-2.0
"""What the kernel's filter knows becomes docs/kernel.md: which comparisons of a rule need not reach user space."""

from __future__ import annotations

from falco_py.events.syscalls import ROWS
from falco_py.kernel.decisions import FD_NUMBERS, name_of_bit
from falco_py.kernel.formulas import (
    ADDRESS_FIELDS,
    KIND_FIELDS,
    MAX_RULE_CLAUSES,
    NAME_FIELD,
    OPEN_FIELDS,
    PORT_FIELDS,
    PROCESS_FIELDS,
    RESULT_FIELDS,
    Fact,
)
from falco_py.kernel.paths import NAME_KEY_BYTES, SUFFIX_BYTES, TRIE_KEY_BYTES
from falco_py.kernel.pushdown import MAX_CLAUSES
from falco_py.kernel.tables import FILTERED_OPENS, SERVER_ENDS, bits_of, value_parameter

_TEMPLATE = """\
# What the kernel compares

Made by `make docs`. Each condition is worked out for each event type when rules are loaded, and what the kernel can
compare goes into its tables: a call that no rule can match stays there and costs next to nothing. `falco-py explain
RULE` says what that is of a rule. A comparison that is not listed here is made in user space, on the calls that the
others let through.

"""
_LIMITS = f"""\
- A call is kept when it could match: what cannot be known (a path with `..`, a string that cannot be read) is kept.
- A rule may join facts by `and`, `or` and `not`, and becomes at most {MAX_RULE_CLAUSES} alternatives; all rules
  together become at most {MAX_CLAUSES}. Beyond that the filter becomes looser, and the agent says so.
- Of opens both spellings of the path are looked up: that of the file really opened, and that which the process passed,
  joined to its directory. Paths are compared by {TRIE_KEY_BYTES - 1} bytes, last components by {NAME_KEY_BYTES - 1}. Of
  how a path ends, the last component is compared, or {SUFFIX_BYTES} bytes of that.
- The kernel says which alternatives were left when it told a call, and only their rules are tested in user space, once
  the same ones came often.
- What a program, its arguments and its container are is compared from the second call of a kind on: the first is
  tested in user space, and the answer is kept for as long as the process stays the same image in the same control
  group and the thread keeps its name. In a container whose facts are looked for nothing is kept for two seconds, and
  facts that come later void what was.
- Programs that start and end are told whatever rules ask: the process table follows them.
"""

_PATHS = (
    "`fd.name` with `=`, `in`, `startswith`, `endswith`, `glob`, `pmatch`; `fd.directory` with `=`, `in`, "
    "`startswith`; `fd.filename` with `=`, `in`, `endswith`; none of them under `not`"
)


def page() -> str:
    return _TEMPLATE + _facts() + "\n## Arguments\n\n" + _arguments() + "\n## Limits\n\n" + _LIMITS


def _fields(names: frozenset[str]) -> str:
    return ", ".join(f"`{name}`" for name in sorted(names))


def _facts() -> str:
    opens = ", ".join(f"`{name}`" for name in sorted(FILTERED_OPENS))
    servers = ", ".join(f"`{name}`" for name in sorted(SERVER_ENDS))
    exact = ", ".join(map(str, range(FD_NUMBERS - 1)))
    rows = [
        (Fact.RESULT, _fields(RESULT_FIELDS) + "; `fd.num` where the result is the fd", "calls with a result"),
        (Fact.OPEN, _fields(OPEN_FIELDS) + "; `evt.arg.flags contains` `O_CREAT` or `O_TRUNC`", opens),
        (Fact.PATH, _PATHS, opens),
        (Fact.VALUE, "`evt.arg.NAME`: see below", "those below"),
        (Fact.KIND, _fields(KIND_FIELDS), "calls on an fd"),
        (Fact.NUMBER, f"`fd.num`: {exact} each by itself, all others together", "calls on an fd"),
        (Fact.PORT, _fields(frozenset().union(*PORT_FIELDS.values())) + ", of the server's end", servers),
        (Fact.ADDRESS, _fields(frozenset().union(*ADDRESS_FIELDS.values())) + ", of the server's end", servers),
        (Fact.NAME, f"`{NAME_FIELD}`", "every call"),
        (Fact.PROCESS, _fields(PROCESS_FIELDS), "every call"),
    ]  # fmt: skip
    return "| fact | comparisons | calls |\n| --- | --- | --- |\n" + "".join(
        f"| {fact} | {what} | {calls} |\n" for fact, what, calls in rows
    )


def _arguments() -> str:
    found: dict[tuple[str, str], list[str]] = {}
    for name, row in sorted(ROWS.items()):
        param = value_parameter(row)
        if param is None:
            continue
        bits = bits_of(param)
        flags = ", ".join(f"`{name_of_bit(param.table or '', bit)}`" for bit in bits)
        what = f"`contains` one of {flags}" if bits else "any comparison with the name of a value"
        found.setdefault((param.name, what), []).append(name)
    return "| argument | calls | comparisons |\n| --- | --- | --- |\n" + "".join(
        f"| `{name}` | {', '.join(f'`{call}`' for call in calls)} | {what} |\n"
        for (name, what), calls in sorted(found.items())
    )
