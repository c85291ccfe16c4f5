# SPDX-License-Identifier: Apache-2.0
"""The parsers of the command line become packaging/falco-py.8 and the completion for bash.

Invariant: what is made holds every option and sub-command that the parsers know, and renders without a warning.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from falco_py import __version__, commands, options
from falco_py.config.keys import KEYS
from falco_py.rules.collector import BUILT_IN_PLUGINS

from . import DOCS

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable

PACKAGING = DOCS.parent / "packaging"
MANUAL = PACKAGING / "falco-py.8"
BASH = PACKAGING / "completion" / "falco-py.bash"

SIGNALS = {
    "SIGHUP": "reads configuration and rules again. If something is wrong, the agent goes on with what it had, and its "
    "log says why.",
    "SIGUSR1": "reopens the files and programs of outputs, for logrotate(8).",
    "SIGINT, SIGTERM": "ends the capture, delivers the alerts that wait, within a bound, and prints a summary. A "
    "second one ends at once.",
}
EXITS = {
    "0": "all is fine",
    "1": "the input is wrong: command line, configuration or rules",
    "2": "the machine cannot do it; the message says how to mend it",
}
FILES = {
    "/etc/falco/falco.yaml": "the configuration",
    "/etc/falco/config.d": "further files of the configuration, where config_files names it",
    "/etc/falco/falco_rules.yaml": "the rules that come with the agent; an upgrade replaces them",
    "/etc/falco/falco_rules.local.yaml": "your own rules, and changes to the others",
    "/etc/falco/rules.d": "further rules files, read in the order of their names",
    "/run/falco.pid": "the process id of the running service",
    "/run/falco-py/status.sock": "where a running agent tells of itself, to falco-py explain --cost and doctor",
    "/var/lib/falco": "alerts that wait for the receiver of http_output",
}
ENVIRONMENT = {
    "HOST_ROOT": "where the root of the host is mounted, when the agent runs in a container",
    "FALCO_HOSTNAME": "the name of this machine in alerts",
    "FALCO_CGROUP_MEM_PATH": "the file that tells the memory of the agent's container, for metrics",
    "FALCO_K8S_NODE_NAME": "the name of the node, in a pod",
    "FALCO_PY_STATUS_SOCKET": "another place for /run/falco-py/status.sock; empty: none",
    "FALCO_PY_DEBUG": "when set, a defect is told with the place where it happened",
    "NOTIFY_SOCKET, WATCHDOG_USEC, WATCHDOG_PID, JOURNAL_STREAM": "set by systemd(1), see sd_notify(3)",
    "http_proxy, https_proxy, all_proxy, no_proxy": "proxies for http_output",
    "KUBERNETES_SERVICE_HOST, KUBERNETES_SERVICE_PORT, container": "set by who runs a container; doctor and --support "
    "tell of them",
    "TZ": "the time zone of the log and of alerts",
}
_EXAMPLES = {
    "falco-py -r my_rules.yaml": "Watch this machine with these rules.",
    "falco-py -V my_rules.yaml": "Check rules, and tell every mistake with its place.",
    "falco-py -c /etc/falco/falco.yaml --dry-run": "Check configuration and rules, as the service would load them.",
    "falco-py doctor": "Say what works on this machine, what does not, and what to do.",
    "falco-py --support > support.json": "Gather the facts for a report of a defect.",
}
_DESCRIPTION = (
    "falco-py watches what the processes of a Linux machine do, tests it against Falco rules and tells of each match. "
    "What it sees comes from the kernel through eBPF, so it must run as root, or with CAP_BPF, CAP_PERFMON, "
    "CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH. Without a sub-command it is the agent, and takes the options of Falco."
)
_FILE_VALUES = ("FILE", "PATH")


def _options(parser: argparse.ArgumentParser) -> list[tuple[str, list[argparse.Action]]]:
    """The groups of a parser with what they hold, in order; empty ones are left out."""
    return [(str(group.title), group._group_actions) for group in parser._action_groups if group._group_actions]


def _help(action: argparse.Action) -> str:
    return (action.help or "").replace("%%", "%")


# The page


def _escaped(text: str) -> str:
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return f"\\&{text}" if text[:1] in ".'" else text


def _item(head: str, text: str) -> str:
    return f".TP\n{head}\n{_escaped(text)}\n"


def _item_of(action: argparse.Action) -> str:
    value = f" \\fI{_escaped(str(action.metavar))}\\fR" if action.metavar else ""
    if not action.option_strings:
        return _item(value.strip(), _help(action))
    if action.nargs == "?":
        value = f"[=\\fI{_escaped(str(action.metavar))}\\fR]"
    names = ", ".join(f"\\fB{_escaped(name)}\\fR" for name in action.option_strings)
    return _item(names + value, _help(action))


def _usage(parser: argparse.ArgumentParser) -> str:
    lines = (parser.usage or "").split("\n")
    return "\n.br\n".join(_escaped(line.strip()) for line in lines)


def _section(title: str, entries: dict[str, str]) -> str:
    return f".SH {title}\n" + "".join(_item(f"\\fB{_escaped(name)}\\fR", text) for name, text in entries.items())


def man() -> str:
    """The manual page, in the man macros of roff."""
    parser = options.falco_parser()
    made = [
        '.\\" SPDX-License-Identifier: Apache-2.0\n.\\" Made by `make docs`.\n',
        f'.TH FALCO\\-PY 8 "" "falco\\-py {__version__}" "System Administration"\n',
        ".SH NAME\nfalco\\-py \\- runtime security for Linux: tests Falco rules on what the kernel sees\n",
        f".SH SYNOPSIS\n{_usage(parser).partition(chr(10) + '.br')[0]}\n",
        *(f".br\nfalco\\-py {name} ...\n" for name in options.COMMANDS),
        f".SH DESCRIPTION\n{_escaped(_DESCRIPTION)}\n",
        ".SH OPTIONS\n",
        *(f".SS {title.capitalize()}\n" + "".join(map(_item_of, actions)) for title, actions in _options(parser)),
        ".SH COMMANDS\n",
        *(_command(name) for name in options.COMMANDS),
        _section("SIGNALS", SIGNALS),
        _section("EXIT STATUS", EXITS),
        _section("FILES", FILES),
        _section("ENVIRONMENT", ENVIRONMENT),
        ".SH EXAMPLES\n",
        *(_item(f"\\fB{_escaped(command)}\\fR", about) for command, about in _EXAMPLES.items()),
        ".SH SEE ALSO\n.BR systemctl (1),\n.BR journalctl (1),\n.BR logrotate (8),\n.BR bpf (2)\n",
    ]
    return "".join(made)


def _command(name: str) -> str:
    parser = commands.parser(name)
    return (
        f".SS falco\\-py {name}\n{_usage(parser)}\n.PP\n{_escaped(parser.description or '')}\n"
        + "".join(_item_of(action) for _, actions in _options(parser) for action in actions)
    )  # fmt: skip


# Completion

_BASH = """\
# SPDX-License-Identifier: Apache-2.0
# Completion of falco-py for bash. Made by `make docs`.

_falco_py_files() {{
    compopt -o filenames 2>/dev/null
    mapfile -t COMPREPLY < <(compgen -f -- "$1")
}}

_falco_py_words() {{
    mapfile -t COMPREPLY < <(compgen -W "$2" -- "$1")
}}

_falco_py() {{
    local current=${{COMP_WORDS[COMP_CWORD]}} before=${{COMP_WORDS[COMP_CWORD - 1]}} command=
    COMPREPLY=()
    if [[ $COMP_CWORD -gt 1 ]]; then
        case ${{COMP_WORDS[1]}} in
            {commands}) command=${{COMP_WORDS[1]}} ;;
        esac
    fi
    [[ $current == = || $before == = ]] && return
    case "$command $before" in
{values}
    esac
    case $command in
{options}
    esac
}}

complete -F _falco_py falco-py
"""
_KEY_VALUES = """\
            compopt -o nospace 2>/dev/null
            _falco_py_words "$current" "{keys}"
            return
            ;;"""


def _quoted(option: str) -> str:
    return f"'{option}'"


def _values(command: str, actions: Iterable[argparse.Action]) -> dict[str, list[str]]:
    """Which options take files, keys, words of a list, or something that only the user knows: by what to do."""
    words = {"--format": " ".join(options.FORMATS), "-p": "container kubernetes", "--enable-source": "syscall",
             "--disable-source": "syscall", "--plugin-info": " ".join(sorted(BUILT_IN_PLUGINS))}  # fmt: skip
    made: dict[str, list[str]] = {}
    for action in actions:
        if not action.metavar or action.nargs == "?" or not action.option_strings:
            continue
        name = action.option_strings[0]
        if action.metavar == "KEY=VALUE":
            what = "keys"
        elif action.metavar in _FILE_VALUES:
            what = "files"
        else:
            what = words.get(name, "")
        made.setdefault(what, []).extend(_quoted(f"{command} {one}") for one in action.option_strings)
    return made


def bash() -> str:
    """The completion, as a file to be sourced."""
    parsers = {"": options.falco_parser(), **{name: commands.parser(name) for name in options.COMMANDS}}
    values: dict[str, list[str]] = {}
    lines: list[str] = []
    for command, parser in parsers.items():
        actions = [action for _, group in _options(parser) for action in group]
        for what, patterns in _values(command, actions).items():
            values.setdefault(what, []).extend(patterns)
        words = " ".join(option for action in actions for option in action.option_strings)
        lines.append(_branch(command, words, takes_files=any(
            not action.option_strings and action.metavar in _FILE_VALUES for action in actions)))  # fmt: skip
    keys = " ".join(f"{name}=" for name in KEYS)
    made = []
    for what, patterns in values.items():
        does = {
            "keys": _KEY_VALUES.format(keys=keys),
            "files": '            _falco_py_files "$current"\n            return\n            ;;',
            "": "            return\n            ;;",
        }.get(what, f'            _falco_py_words "$current" "{what}"\n            return\n            ;;')
        made.append(f"        {' | '.join(patterns)})\n{does}")
    return _BASH.format(commands="|".join(options.COMMANDS), values="\n".join(made), options="\n".join(lines))


def _branch(command: str, words: str, *, takes_files: bool) -> str:
    if not command:
        first = " ".join(options.COMMANDS)
        return (
            "        '')\n"
            '            if [[ $COMP_CWORD -eq 1 && $current != -* ]]; then\n'
            f'                _falco_py_words "$current" "{first}"\n'
            "            else\n"
            f'                _falco_py_words "$current" "{words}"\n'
            "            fi\n"
            "            ;;"
        )  # fmt: skip
    if takes_files:
        return (
            f"        {command})\n"
            f'            if [[ $current == -* ]]; then _falco_py_words "$current" "{words}"; '
            'else _falco_py_files "$current"; fi\n            ;;'
        )
    return f'        {command})\n            _falco_py_words "$current" "{words}"\n            ;;'


def variables_read(source: str) -> set[str]:
    """The variables of the environment that a module reads by name."""
    return set(re.findall(r"""environ\.get\(\s*"([A-Za-z_]+)\"""", source))
