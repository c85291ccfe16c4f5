# SPDX-License-Identifier: Apache-2.0
"""A small rules file over the agent's own fields, and events for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from falco_py.trials.events import Written, read_events
from falco_py.trials.load import Trials

if TYPE_CHECKING:
    from falco_py.trials.given import Given

RULES = """\
- list: readers
  items: [cat, less, more, head, tail, od, xxd]
- macro: open_read
  condition: (evt.type in (open, openat) and evt.is_open_read = true and fd.num >= 0)
- macro: quiet
  condition: (evt.num = 0)
- rule: read secret
  desc: d
  condition: open_read and fd.name = /etc/secret and not quiet and (proc.name in (readers) or proc.pname = sh)
  output: secret read by %proc.name (%fd.name)
  priority: WARNING
  exceptions:
    - name: known_reader
      fields: [proc.name, user.name]
      values: [[tail, root]]
    - name: never_used
      fields: user.name
      values: [nobody]
- rule: any read
  desc: d
  condition: open_read and fd.name startswith /etc/
  output: read of %fd.name
  priority: INFO
- rule: switched off
  desc: d
  condition: evt.type = connect
  output: o
  priority: INFO
  enabled: false
"""
FILES = [("rules.yaml", RULES)]
READ = {
    "evt.type": "openat",
    "fd.name": "/etc/secret",
    "fd.type": "file",
    "evt.arg.flags": "O_RDONLY",
    "fd.num": "3",
    "proc.name": "cat",
    "user.name": "joe",
}


def trials(text: str = RULES, **settings: Any) -> Trials:
    return Trials([("rules.yaml", text)], **settings)


def written(load: Trials, values: dict[str, Any]) -> Written:
    lines = "".join(f"{key}: {value}\n" for key, value in values.items())
    (made,) = read_events("event.yaml", lines, load.catalogue)
    return made


def given(load: Trials, *, assume: bool = False, **changes: Any) -> Given:
    """READ with `changes`; keys have `__` for the dot, None takes a field out."""
    values = {**READ, **{key.replace("__", "."): value for key, value in changes.items()}}
    return written(load, {key: value for key, value in values.items() if value is not None}).given(assume=assume)
