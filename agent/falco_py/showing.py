# SPDX-License-Identifier: Apache-2.0
"""Options that show something become text on standard output: versions, listings, schemas, rules and what they are.

Invariant: nothing here needs root, a kernel or a running agent.
"""

from __future__ import annotations

import json
import platform
import sys
from typing import TYPE_CHECKING, Any

from . import __version__
from .options import FORMATS, INPUT_WRONG, OK, SOURCE, UsageError, complain, config_of, rule_files, rules_of, say
from .prepared import InputError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from .config import Config
    from .rules.describe import Descriptions


def version(options: argparse.Namespace) -> int:
    from .rules.collector import ENGINE_VERSION

    engine = ".".join(map(str, ENGINE_VERSION))
    if config_of(options).json_output:
        made = {
            "engine_version": str(ENGINE_VERSION[1]),
            "engine_version_semver": engine,
            "falco_version": __version__,
            "machine": platform.machine(),
        }
        say(json.dumps(made))
    else:
        say(f"Falco-py version: {__version__} ({platform.machine()})\nEngine: {engine}")
    return OK


def _format(options: argparse.Namespace) -> str:
    form: str = "markdown" if options.markdown else options.format or "text"
    if form not in FORMATS:
        raise UsageError(f"Invalid format '{form}'. Valid values are: {', '.join(FORMATS)}")
    return form


def list_fields(options: argparse.Namespace) -> int:
    from .fields import listing

    makers = {"text": listing.list_text, "markdown": listing.list_markdown, "json": listing.list_json}
    try:
        say(makers[_format(options)](options.list or None, options.N))
    except ValueError as error:
        raise UsageError(str(error)) from None
    return OK


def list_events(options: argparse.Namespace) -> int:
    from .events.syscalls import ROWS

    form = _format(options)
    events = [
        (name, [(p.type, p.name) for p in row.params if not p.name.startswith("_")])
        for name, row in sorted(ROWS.items())
    ]
    if form == "json":
        made = [{"name": name, "params": [{"name": n, "type": t} for t, n in params]} for name, params in events]
        say(json.dumps(made, indent=2))
        return OK
    for name, params in events:
        call = f"{name}({', '.join(f'{t} {n}' for t, n in params)})"
        say(f"- `{call}`" if form == "markdown" else call)
    return OK


def list_ignored() -> int:
    """-i: Falco's list, and the truth about it here."""
    from .prepared import IGNORED_IO

    say("Ignored syscall(s):\n" + "\n".join(f"- {name}" for name in sorted(IGNORED_IO)))
    say("\nfalco-py tells these to rules that name them in evt.type; only rules without an evt.type do not get them.")
    return OK


def list_plugins() -> int:
    from .rules.collector import BUILT_IN_PLUGINS

    say("0 Plugins Loaded\n\nShared objects are not loaded. Built in, under the same field names:\n")
    for name in sorted(BUILT_IN_PLUGINS):
        say(_built_in(name))
    return OK


def _built_in(name: str) -> str:
    """A line about what is built in of a plugin of Falco's."""
    from .fields.catalogue import CATALOGUE
    from .rules.collector import BUILT_IN_PLUGINS
    from .rules.describe import PLUGINS

    fields = [field for field in CATALOGUE.values() if PLUGINS.get(field.klass) == name]
    version = ".".join(map(str, BUILT_IN_PLUGINS[name]))
    silent = all(field.source not in (SOURCE, "any") for field in fields)
    return (
        f"{name}: {len(fields)} fields, as of version {version}"
        + ("; rules that use them load, but this build has no source of such events" if silent else "")
    )  # fmt: skip


def plugin_info(name: str) -> int:
    """Raises InputError."""
    from .rules.collector import BUILT_IN_PLUGINS

    if name not in BUILT_IN_PLUGINS:
        raise InputError(
            f"can't find plugin and print its info: {name}\n"
            f"  What to do: plugins are not loaded; built in are {', '.join(sorted(BUILT_IN_PLUGINS))}."
        )
    say(_built_in(name))
    say("It is a part of the agent: nothing is loaded, and init_config and open_params are not read.")
    return OK


def schema(of_rules: bool) -> int:
    from .config.schema import config_schema
    from .rules.schema import rules_schema

    say(json.dumps(rules_schema() if of_rules else config_schema(), indent=2))
    return OK


def check_rules(options: argparse.Namespace) -> int:
    """-V: each file is loaded with those before it, and gets its own verdict on stdout."""
    from .prepared import read_rules, rules_options
    from .rules.results import check
    from .visible import json_line

    config = config_of(options)
    files = read_rules(rule_files(options.V, "-V"))
    results = check(files, rules_options(config))
    invalid = [one for one in results if one.errors]
    if config.json_output:
        made: dict[str, Any] = {"falco_load_results": [one.json() for one in results]}
        if not invalid and (options.L or options.l is not None):
            made["falco_describe_results"] = _described(options, config, files).json(options.l)
        say(json_line(made))
    else:
        for one in results:
            say(one.text())
        if not invalid and (options.L or options.l is not None):
            say(_described(options, config, files).text(options.l))
    sys.stdout.flush()
    for one in invalid:
        complain(f"Error: {one.summary()}")
    return INPUT_WRONG if invalid else OK


def _described(options: argparse.Namespace, config: Config, files: Sequence[tuple[str, str]]) -> Descriptions:
    """Raises RulesError, and InputError when there is no rule of the name that was asked for."""
    from .config.problem import nearest
    from .prepared import rules_options
    from .rules.describe import Descriptions

    made = Descriptions(files, **rules_options(config))
    if options.l is not None and options.l not in made.rules:
        near = nearest(options.l, made.rules)
        raise InputError(f'Rule "{options.l}" is not loaded' + (f"; did you mean '{near}'?" if near else ""))
    return made


def describe(options: argparse.Namespace) -> int:
    """-L and -l."""
    from .prepared import read_rules
    from .visible import json_line

    config = config_of(options)
    made = _described(options, config, read_rules(rules_of(options, config)))
    say(json_line(made.json(options.l)) if config.json_output else made.text(options.l))
    return OK
