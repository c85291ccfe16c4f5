# SPDX-License-Identifier: Apache-2.0
"""The values of the keys become the sections of the configuration, each checked as a whole.

Invariant: a section that is switched off is None and is not checked; what does not fit together is a problem, in
Falco's words where it has some.
"""

from __future__ import annotations

import ipaddress
import os
import re
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from ..log import Level
from . import entries
from .durations import milliseconds
from .keys import LOG_LEVELS, PRIORITIES
from .model import (
    Config,
    Drops,
    FileOutput,
    Folding,
    HttpOutput,
    Kubernetes,
    Metrics,
    Outputs,
    ProgramOutput,
    WebServer,
)
from .problem import ConfigError, nearest
from .reader import Reader

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .tree import Mapping

_HEADER: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # a token of RFC 9110
_LEAST_INTERVAL_MS: Final = 100
_OLD_KEY: Final = "Using deprecated config key 'rules_file' (singular form). Please use new 'rules_files' config key"


def configuration(root: Mapping, files: Sequence[str], included: Sequence[str], warnings: Sequence[str]) -> Config:
    """Raises ConfigError with all problems. `warnings`: lines to stand before those that are found here."""
    reader = Reader(root, files[0] if files else "falco.yaml")
    entries.plugins(reader)
    webserver = _webserver(reader)
    made: Config = reader.of(
        Config,
        "",
        files=tuple(files),
        included=tuple(included),
        rules_files=_rules_files(reader),
        capture_enabled=reader.flag("capture.enabled"),
        capture_mode=reader.text("capture.mode"),
        priority=_priority(reader),
        drops=_drops(reader),
        outputs=_outputs(reader),
        max_quiet_s=reader.whole("syscall_event_timeouts.max_consecutives"),
        cpu_limit_percent=reader.number("engine.falco_py.cpu_limit_percent"),
        facts_wait_ms=reader.whole("engine.falco_py.facts_wait_ms"),
        broken_rules_files=reader.text("engine.falco_py.broken_rules_files"),
        log_level=Level(LOG_LEVELS.index(reader.text("log_level"))),
        log_json=reader.text("log_format") == "json",
        webserver=webserver,
        metrics=_metrics(reader, webserver),
        kubernetes=_kubernetes(reader),
        append_output=entries.append_output(reader),
        static_fields=entries.static_fields(reader),
        rules=entries.selections(reader),
        warnings=(*warnings, *reader.warnings),
        notices=tuple(reader.notices),
    )
    if reader.problems:
        raise ConfigError(sorted(reader.problems, key=lambda one: (one.place.file, one.place.line, one.place.column)))
    return made


def _priority(reader: Reader) -> int:
    text = reader.text("priority")
    names = [name.lower() for name in PRIORITIES]
    wanted = "informational" if text.lower() == "info" else text.lower()
    if wanted in names:
        return names.index(wanted)
    like = nearest(wanted, names)
    hint = f"Did you mean {like}?" if like else ""
    reader.wrong("priority", f'Unknown priority "{text}"--must be one of {", ".join(names)}', hint)
    return 0


def _rules_files(reader: Reader) -> tuple[str, ...]:
    if "rules_file" not in reader.values:
        return reader.texts("rules_files")
    if "rules_files" in reader.values:
        hint = "Keep rules_files; rules_file is its older name."
        reader.wrong("rules_file", "rules_file and rules_files cannot both be given", hint)
    else:
        reader.warnings.append(f"{reader.node('rules_file').place}: {_OLD_KEY} (plural form).")
    return reader.texts("rules_file")


def _drops(reader: Reader) -> Drops:
    actions = reader.texts("syscall_event_drops.actions")
    for before, action in enumerate(actions):
        if action != "ignore" and "ignore" in actions[:before]:  # as in Falco, only in this order
            message = f'syscall event drop action "{action}" does not make sense with the "ignore" action'
            reader.wrong("syscall_event_drops.actions", message, "Leave out one of the two.")
            break
    return Drops(
        threshold=reader.number("syscall_event_drops.threshold"),
        actions=actions,
        rate=reader.number("syscall_event_drops.rate"),
        max_burst=reader.number("syscall_event_drops.max_burst"),
        simulate=reader.flag("syscall_event_drops.simulate_drops"),
    )


# Outputs


def _outputs(reader: Reader) -> Outputs:
    outputs = Outputs(
        stdout=reader.flag("stdout_output.enabled"),
        syslog=reader.flag("syslog_output.enabled"),
        file=reader.of(FileOutput, "file_output") if reader.flag("file_output.enabled") else None,
        program=_program(reader) if reader.flag("program_output.enabled") else None,
        http=_http(reader) if reader.flag("http_output.enabled") else None,
        buffered=reader.flag("buffered_outputs"),
        capacity=reader.whole("outputs_queue.capacity"),
        timeout_ms=reader.whole("output_timeout"),
        folding=Folding(reader.number("fold_repeats.interval_s"), reader.texts("fold_repeats.by")),
    )
    for name, one, key in (("file", outputs.file, "filename"), ("program", outputs.program, "program")):
        if one is not None and not getattr(one, key).strip():
            message = f"{name} output enabled but no {key} in configuration block"
            reader.wrong(f"{name}_output.enabled", message, f"Give {name}_output.{key}.")
    if not outputs.any and not reader.problems:
        message = "No output configured, please make sure at least one output is configured and enabled."
        reader.wrong("stdout_output.enabled", message, "Set stdout_output.enabled to true.")
    return outputs


def _program(reader: Reader) -> ProgramOutput:
    timeout_s = reader.number("program_output.timeout_s")
    made: ProgramOutput = reader.of(ProgramOutput, "program_output", timeout_s=timeout_s)
    return made


def _http(reader: Reader) -> HttpOutput:
    made: HttpOutput = reader.of(
        HttpOutput,
        "http_output",
        spool_directory=reader.text("http_output.spool.directory"),
        spool_max_size_mb=reader.whole("http_output.spool.max_size_mb"),
    )
    hint = "For example: http_output.url: https://receiver.example:8443/alerts"
    if not made.url.strip():
        reader.wrong("http_output.enabled", "http output enabled but no url in configuration block", hint)
        return made
    scheme = _web_scheme(made.url)
    if not scheme:
        reader.wrong("http_output.url", "http_output.url: expected http:// or https:// and a host", hint)
    for name, value in made.headers:
        if not _HEADER.fullmatch(name) or not value.isprintable():
            reader.wrong("http_output.headers", f'http_output.headers: "{name}" cannot be a header')
    if made.mtls and scheme == "http":
        place = reader.node("http_output.mtls").place
        reader.warnings.append(f"{place}: http_output.mtls has no effect over http://")
    return made


def _web_scheme(url: str) -> str:
    """http or https; empty when nothing can be sent there."""
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return ""
    return parts.scheme if usable else ""


# What the agent tells of itself


def _webserver(reader: Reader) -> WebServer | None:
    if not reader.flag("webserver.enabled"):
        return None
    made: WebServer = reader.of(WebServer, "webserver")
    try:
        ipaddress.ip_address(made.listen_address)
    except ValueError:
        message = f'webserver listen address "{made.listen_address}" is not a valid IP address'
        reader.wrong("webserver.listen_address", message, "For example 0.0.0.0, 127.0.0.1 or ::.")
    if not made.k8s_healthz_endpoint.startswith("/"):
        name = "webserver.k8s_healthz_endpoint"
        reader.wrong(name, f"{name}: expected a path that begins with /", "For example /healthz.")
    return made


def _metrics(reader: Reader, webserver: WebServer | None) -> Metrics | None:
    if not reader.flag("metrics.enabled"):
        return None
    interval_ms = milliseconds(reader.text("metrics.interval"))
    if interval_ms is None or interval_ms < _LEAST_INTERVAL_MS:
        reader.wrong(
            "metrics.interval",
            "Metrics interval must have a minimum value of 100ms and reflect a Prometheus compliant time duration "
            "format",
            "For example 30m, 1h30m or 500ms: units y, w, d, h, m, s, ms in this order, each at most once.",
        )
    made: Metrics = reader.of(Metrics, "metrics", interval_ms=interval_ms or 0)
    served = webserver is not None and webserver.prometheus_metrics_enabled
    if not (made.output_rule or made.output_file or served):
        reader.wrong(
            "metrics.enabled",
            "Metrics are enabled with no output configured. Please enable at least one output channel "
            "('metrics.output_rule', 'metrics.output_file' or 'webserver.prometheus_metrics_enabled')",
        )
    return made


# Kubernetes

NODE: Final = "FALCO_K8S_NODE_NAME"
_DNS_LABEL: Final = "[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"
_DNS_NAME: Final = rf"(?=.{{1,253}}$){_DNS_LABEL}(\.{_DNS_LABEL})*"
_NODE_NAME: Final = re.compile(_DNS_NAME)
_CONFIGMAP: Final = re.compile(rf"({_DNS_LABEL}/)?{_DNS_NAME}")


def _kubernetes(reader: Reader) -> Kubernetes | None:
    if not reader.flag("kubernetes.enabled"):
        return None
    node = reader.text("kubernetes.node_name") or os.environ.get(NODE, "")
    made: Kubernetes = reader.of(Kubernetes, "kubernetes", node_name=node)
    if made.pods and not _NODE_NAME.fullmatch(node):
        message = (
            f'kubernetes.node_name: "{node}" is not the name of a node' if node else "the node's name is not known"
        )
        hint = f"Give kubernetes.node_name, or set {NODE} from the pod's spec.nodeName."
        reader.wrong("kubernetes.node_name" if node else "kubernetes.pods", message, hint)
    if made.rules_configmap and not _CONFIGMAP.fullmatch(made.rules_configmap):
        message = f'kubernetes.rules_configmap: "{made.rules_configmap}" is not the name of a ConfigMap'
        reader.wrong("kubernetes.rules_configmap", message, "For example falco-rules or falco/falco-rules.")
    if not made.rules_directory.startswith("/"):
        reader.wrong("kubernetes.rules_directory", "kubernetes.rules_directory: expected an absolute path")
    return made
