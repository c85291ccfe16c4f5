# SPDX-License-Identifier: Apache-2.0
"""The table of keys becomes docs/config.md, which has every key, and packaging/falco.yaml, which the package installs.

Invariant: the file has every key that works, with its default or what a host service should have (`Key.shipped`), and
no other.
"""

from __future__ import annotations

import json
import re
import textwrap
from typing import Any, Final

import yaml

from falco_py.config.keys import GROUPS, KEYS, Key, Kind
from falco_py.config.values import shown

from . import DOCS

SHIPPED: Final = DOCS.parent / "packaging" / "falco.yaml"
_WIDTH: Final = 100  # of comments
_NOT_SHIPPED: Final = ("rules_file",)  # an older name
_PLAIN: Final = re.compile(r"[A-Za-z0-9_./-]+")

_COLUMNS: Final = "| key | takes | default | what it does | state |\n| --- | --- | --- | --- | --- |"

_PAGE: Final = """\
# Configuration

Made by `make docs`. The agent reads `/etc/falco/falco.yaml`, or the file of `-c`; without either the built-in
configuration, which is all the defaults below. A file written for Falco is accepted as it is.
`falco-py --config-schema` prints a JSON schema for editors.

## What counts

From the first to the last, later wins:

1. the defaults;
2. the file;
3. the files of `config_files`, in their order; of a directory its `.yaml` and `.yml` files by name. What is missing is
   skipped. An included file cannot include others;
4. `-o KEY=VALUE`, in their order. `-o config_files=...` counts before files are included;
5. options such as `-r`, `-p`, `-U` and `-v`.

```yaml
config_files:
  - /etc/falco/config.d                                     # append
  - {path: /etc/falco/site.yaml, strategy: override}
```

| strategy | a key of the included file, at the top level |
| --- | --- |
| `append` | adds to a list that is there already; any other key is replaced |
| `override` | replaces |
| `add-only` | counts only where the key is not there yet |

Sections are not merged: an included file that has `http_output` replaces all of it.

### `-o`

| form | meaning |
| --- | --- |
| `-o a.b.c=VALUE` | sets a key in its sections |
| `-o a[1]=VALUE` | sets an entry of a list, counted from 0 |
| `-o a[]=VALUE` | adds one |
| `-o 'a\\.b=VALUE'` | `\\.`, `\\[` and `\\\\` stand for the character itself |

The value is YAML or JSON: `-o 'append_output[]={"extra_output": "on %evt.hostname"}'`.

### Environment

`${NAME}` in a value, or in a part of it, is the variable's value; nothing when it is not set. `$${NAME}` is the text
`${NAME}`. This is done before the value is looked at, so `priority: ${LEVEL}` works. Secrets need not stand in the
file: `url: "https://receiver.example/${TOKEN}"`. Rules files have no variables.

### Mistakes

A value of the wrong type ends the start, with file, line, column, what was expected and the nearest right spelling;
all mistakes are told at once, and the exit code is 1. A key that nobody knows is a warning with its line and the
nearest key, in entries of lists, too. A key that has no effect here is named in the log with what is done instead,
unless it has its default. `falco-py --dry-run` tells all of it and watches nothing.

### Reload

After `kill -1 $(cat /var/run/falco.pid)`, and, with `watch_config_files`, when one of the files changes, configuration
and rules are read again. If anything is wrong, the agent goes on with what it has and says why. `kubernetes` alone is
read at the start only; a change of it waits for the next one, which the log and `/healthz` say.

## Keys

*State*: whether the key works, or what is done in place of it; `falco-py only`: Falco does not have this key. A key
without a value is as if it were not there. True and false are also `yes`, `no`, `on`, `off`, `y` and `n`.
"""

_HEADER: Final = """\
# The configuration of falco-py. Every key that has an effect is here, with its default unless the comment says
# otherwise; what is taken out has its default again. Keys of Falco's that have no effect are left out: the page
# config.md of the documentation lists them all, with what is done instead.
#
# Later wins: this file, the files of config_files, -o KEY=VALUE of the command line. ${NAME} is an environment
# variable. 'falco-py --dry-run' checks the file; 'kill -1 $(cat /var/run/falco.pid)' loads it, as does a change of it.
"""


def page() -> str:
    parts = [_PAGE]
    for heading, keys in GROUPS.items():
        rows = "\n".join(
            f"| `{key.name}` | {_takes(key)} | {_default(key)} | {_cell(key.about)} | {_state(key)} |" for key in keys
        )
        parts.append(f"### {heading}\n\n{_COLUMNS}\n{rows}\n")
    parts.append(_shipped_otherwise())
    return "\n".join(parts)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _takes(key: Key) -> str:
    if key.choices:
        some = "some of " if key.kind is Kind.TEXTS else ""
        return some + ", ".join(f"`{choice}`" for choice in key.choices)
    if key.name == "priority":
        return "`emergency` to `debug`, as for `log_level`"
    words = key.kind.value
    if key.at_least is not None and (key.kind is Kind.NUMBER or key.at_least or key.at_most):
        words += f", {key.at_least} to {key.at_most}" if key.at_most is not None else f", {key.at_least} or more"
    if not key.example:
        return words
    return f"{words}: `{_cell(key.example)}`"


def _default(key: Key) -> str:
    """Nothing for what is empty."""
    return f"`{_flow(key.default)}`" if key.default not in (None, (), "") else ""


def _flow(value: Any) -> str:
    if isinstance(value, tuple):
        return "[" + ", ".join(map(_flow, value)) + "]"
    if isinstance(value, str):
        return value if _PLAIN.fullmatch(value) and yaml.safe_load(value) == value else json.dumps(value)
    return shown(value)


def _state(key: Key) -> str:
    if key.refuse:
        refused = " and ".join(f"`{shown(value)}`" for value in key.refuse)
        return f"`{_flow(key.default)}` works; {refused} are refused; else {key.instead}"
    state = f"no effect: {_cell(key.instead)}" if key.instead else "works"
    return f"{state}; falco-py only" if key.ours else state


def _shipped_otherwise() -> str:
    rows = [
        f"| `{key.name}` | {_default(key)} | `{key.shipped}` |"
        for key in KEYS.values()
        if key.shipped and not key.instead
    ]
    return (
        "## The file that is installed\n\nThe package's `/etc/falco/falco.yaml` has every key that works, with its "
        "default, but for these:\n\n| key | default | in the file |\n| --- | --- | --- |\n" + "\n".join(rows) + "\n"
    )


# packaging/falco.yaml


def shipped() -> str:
    lines = [_HEADER]
    for heading, keys in GROUPS.items():
        lines.append(f"\n#### {heading}")
        open_sections: list[str] = []
        for key in keys:
            if key.instead or key.name in _NOT_SHIPPED:
                continue
            *sections, last = key.name.split(".")
            if not sections or sections[:1] != open_sections[:1]:
                lines.append("")
            kept = 0
            while kept < min(len(sections), len(open_sections)) and sections[kept] == open_sections[kept]:
                kept += 1
            lines += [f"{'  ' * depth}{sections[depth]}:" for depth in range(kept, len(sections))]
            open_sections = sections
            lines += _entry(key, last, "  " * len(sections))
    return re.sub(r"\n\n\n+", "\n\n", "\n".join(lines)) + "\n"


def _entry(key: Key, name: str, indent: str) -> list[str]:
    """The comment and the key, with its value or, when it has none, with an example that is a comment."""
    value: Any = yaml.safe_load(key.shipped) if key.shipped else key.default
    empty = value is None or value == ()
    comment = textwrap.wrap(_comment(key), _WIDTH - len(indent))
    if key.example and key.kind is Kind.TEXT:
        comment.append(f"For example: {key.example}")
    lines = [f"{indent}# {line}" for line in comment]
    text = yaml.safe_dump(
        {name: yaml.safe_load(key.example) if empty else list(value) if isinstance(value, tuple) else value},
        sort_keys=False, allow_unicode=True, width=_WIDTH,
    )  # fmt: skip
    mark = "# " if empty else ""
    return lines + [indent + mark + line for line in _indented(text.replace(" ''", ' ""'))]


def _indented(text: str) -> list[str]:
    """Lists of a key stand two blanks below it."""
    first, *rest = text.rstrip("\n").split("\n")
    return [first, *(f"  {line}" for line in rest)] if rest and rest[0].startswith("-") else [first, *rest]


def _comment(key: Key) -> str:
    about = key.about if key.about.startswith("`") else key.about[:1].upper() + key.about[1:]
    notes = [about.replace("`", "") + "."]
    if key.choices:
        notes.append(f"{'Some' if key.kind is Kind.TEXTS else 'One'} of {', '.join(key.choices)}.")
    if key.shipped:
        notes.append(f"Default: {_flow(key.default) if key.default is not None else 'none'}.")
    return " ".join(notes)
