# SPDX-License-Identifier: Apache-2.0
"""Each enabled output and log becomes a finding: would an alert get there?

Invariant: no alert is sent, no program of the configuration is started, and no file is made.
"""

from __future__ import annotations

import os
import re
import shutil
import ssl
import stat
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit
from urllib.request import getproxies_environment, proxy_bypass

from . import reach
from .finding import Check, fine, warn, wrong

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .finding import Finding, Question

_LEAST_FREE_MIB: Final = 64
_PORTS: Final = {"http": 80, "https": 443}
_NETWORK_S: Final = 15.0  # with the resolution of names
_ASSIGNMENT: Final = re.compile(r"""\s*[A-Za-z_]\w*=(?:"(?:\\.|[^"\\])*"|'[^']*'|\\.|[^\s"'\\;&|<>()])*\s+""")
_WORD: Final = re.compile(r"""\s*([^\s"'\\;&|<>()$`*?\[#~=%{}!]+)(?=[\s;&|<>)]|$)""")
_BUILT_IN: Final = frozenset(
    ["while", "if", "for", "case", "until", "exec", "cd", "read", "echo", "printf", "true", "eval", "export", "set"]
)


def _directory(kind: str, path: str) -> str:
    parent = os.path.dirname(os.path.abspath(path))
    return f"{kind} {path}, {reach.free_mib(reach.nearest_directory(parent))} MiB free there"


def _stdout(question: Question) -> Iterator[Finding]:
    if question.config is None or not question.config.outputs.stdout:
        return
    try:
        mode = os.fstat(1).st_mode
    except OSError:
        yield warn("stdout_output", "standard output is closed: alerts go nowhere", "open it, or turn this output off")
        return
    kinds = ((stat.S_ISFIFO, "a pipe"), (stat.S_ISREG, "a file"), (stat.S_ISSOCK, "a socket"))
    kind = next((name for test, name in kinds if test(mode)), "a terminal" if os.isatty(1) else "a device")
    yield fine("stdout_output", f"alerts go to standard output (here: {kind})")


def _file(question: Question) -> Iterator[Finding]:
    output = question.config and question.config.outputs.file
    if output:
        yield _appended("file_output", output.filename)


def _appended(name: str, path: str) -> Finding:
    try:
        reach.try_append(path)
        if os.path.isdir(path):
            raise IsADirectoryError(None, "it is a directory")
        fact = _directory("writable:", path)
        free = reach.free_mib(reach.nearest_directory(os.path.dirname(os.path.abspath(path))))
    except OSError as error:
        return wrong(name, f"{path} cannot be written: {reach.reason(error)}",
                     "make its directory, allow the agent's user to write there, or name another file")  # fmt: skip
    if free < _LEAST_FREE_MIB:
        return warn(name, fact, "make room on this file system")
    return fine(name, fact)


def _syslog(question: Question) -> Iterator[Finding]:
    config = question.config
    if config is None:
        return
    if config.outputs.syslog:
        yield _daemon("syslog_output", question, "alerts")
    where = [name for name, on in (("standard error", config.log_stderr), ("syslog", config.log_syslog)) if on]
    if not where:
        yield warn("log", "goes nowhere: the agent cannot tell what is wrong", "set log_stderr or log_syslog to true")
    elif config.log_syslog and not reach.is_socket(question.syslog):
        rest = "standard error only" if config.log_stderr else "nowhere"
        yield (fine if config.log_stderr else _no_log)("log", f"goes to {rest}: there is no {question.syslog}")
    else:
        yield fine("log", f"goes to {' and '.join(where)}, from level {config.log_level.name.lower()}")


def _no_log(name: str, fact: str) -> Finding:
    return warn(name, fact, "set log_stderr to true, or run a syslog daemon or journald")


def _daemon(name: str, question: Question, what: str) -> Finding:
    try:
        kind = reach.try_unix(question.syslog)
    except OSError as error:
        remedy = "run rsyslog, syslog-ng or journald; in a container, mount its socket, or turn this output off"
        return warn(name, f"{question.syslog} takes no {what}: {reach.reason(error)}", remedy)
    return fine(name, f"{question.syslog} takes {kind}")


def first_word(program: str) -> str:
    """The command that the shell would run first, without assignments before it; empty when that cannot be told."""
    at = 0
    while (found := _ASSIGNMENT.match(program, at)) is not None:
        at = found.end()
    word = _WORD.match(program, at)
    return word.group(1) if word is not None else ""


def _program(question: Question) -> Iterator[Finding]:
    output = question.config and question.config.outputs.program
    if not output:
        return
    word = first_word(output.program)
    if not os.access("/bin/sh", os.X_OK):
        yield wrong("program_output", "there is no /bin/sh to start it", "install a shell, or use another output")
    elif not word or word in _BUILT_IN:
        yield fine("program_output", "begins with words of the shell: which programs it runs cannot be told")
    elif (path := shutil.which(word)) is None:
        yield wrong("program_output", f"there is no program {question.hide(word)} on PATH",
                    "install it, or give its whole path")  # fmt: skip
    else:
        yield fine("program_output", f"begins with {question.hide(path)}; it was not started")


def _http(question: Question) -> Iterator[Finding]:
    from ..config.problem import SettingError
    from ..outputs.tls import Tls

    output = question.config and question.config.outputs.http
    if not output:
        return
    url = urlsplit(output.url)
    host, port = url.hostname or "", url.port or _PORTS[url.scheme]
    told = question.hide(f"{url.scheme}://{host}:{port}")
    try:
        context = Tls(output).context if url.scheme == "https" else None
    except SettingError as problem:
        yield wrong("http_output", f"{problem.key}: {problem.message}", problem.remedy)
        return
    if proxy := proxy_of(url.scheme, f"{host}:{port}"):
        yield _proxied(question, told, proxy)
        return
    try:
        found = reach.connect(host, port, context)
    except ssl.SSLError as error:
        yield wrong("http_output", f"{told}: {reach.reason(error)}",
                    "check http_output.ca_cert, ca_bundle and mtls, and the receiver's certificate")  # fmt: skip
    except OSError as error:
        yield warn("http_output", f"{told} is not reachable: {reach.reason(error)}",
                   "start the receiver or mend http_output.url; until then alerts wait in the spool")  # fmt: skip
    else:
        loose = ", certificates are not verified" if output.insecure and context else ""
        yield fine("http_output", f"{told} is reachable: {found}{loose}; nothing was sent")


def proxy_of(scheme: str, where: str) -> str:
    """The proxy that the environment names for a receiver; empty when it is reached without."""
    proxies = getproxies_environment()
    found = proxies.get(scheme) or proxies.get("all") or ""
    return "" if not found or proxy_bypass(where, proxies) else found if "://" in found else f"http://{found}"


def _proxied(question: Question, told: str, proxy: str) -> Finding:
    try:
        url = urlsplit(proxy)
        host, port = url.hostname or "", url.port or _PORTS.get(url.scheme, 80)
        shown = question.hide(f"{host}:{port}")
        reach.connect(host, port, None)
    except ValueError:
        return wrong(
            "http_output", f"the proxy for {told} is no URL", "mend http_proxy or https_proxy, or set no_proxy"
        )
    except OSError as error:
        return warn("http_output", f"the proxy {shown} for {told} is not reachable: {reach.reason(error)}",
                    "mend http_proxy or https_proxy, or name the receiver in no_proxy")  # fmt: skip
    return fine("http_output", f"{told}: by the proxy {shown}, which is reachable; the receiver was not tried")


def _spool(question: Question) -> Iterator[Finding]:
    output = question.config and question.config.outputs.http
    if not output:
        return
    path, wanted = output.spool_directory, output.spool_max_size_mb
    there = reach.nearest_directory(path)
    try:
        reach.try_directory(there)
        free = reach.free_mib(there)
    except OSError as error:
        yield wrong("spool", f"{there} cannot be written: {reach.reason(error)}",
                    "allow the agent's user to write there, or set http_output.spool.directory")  # fmt: skip
        return
    fact = f"{path} is writable" if there == os.path.abspath(path) else f"{path} is not there yet and can be made"
    if free < wanted:
        yield warn("spool", f"{fact}; {free} MiB free, but it may grow to {wanted} MiB",
                   "make room, or lower http_output.spool.max_size_mb")  # fmt: skip
    else:
        yield fine("spool", f"{fact}; {free} MiB free, it may grow to {wanted} MiB")


def _metrics(question: Question) -> Iterator[Finding]:
    metrics = question.config and question.config.metrics
    if metrics and metrics.output_file:
        yield _appended("metrics file", metrics.output_file)


def _unknown(question: Question) -> Iterator[Finding]:
    if question.config is None:
        yield warn("outputs", "not tried, because the configuration cannot be read", "mend the configuration first")


CHECKS: Final = (
    Check("outputs", _unknown),
    Check("stdout_output", _stdout),
    Check("file_output", _file),
    Check("program_output", _program),
    Check("syslog_output", _syslog),
    Check("http_output", _http, _NETWORK_S),
    Check("spool", _spool),
    Check("metrics file", _metrics),
)
