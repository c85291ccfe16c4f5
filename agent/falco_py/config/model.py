# SPDX-License-Identifier: Apache-2.0
"""The configuration as the agent reads it: frozen, typed, complete.

`Config()` is the built-in configuration, used when there is no falco.yaml.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from ..log import Level
from .keys import KEYS, PRIORITIES

__all__ = [
    "DEFAULT_RULES_FILES",
    "PRIORITIES",
    "AppendOutput",
    "Config",
    "Drops",
    "FileOutput",
    "Folding",
    "HttpOutput",
    "Kubernetes",
    "Match",
    "Metrics",
    "Outputs",
    "ProgramOutput",
    "Selection",
    "WebServer",
]

_RULES_FILES = KEYS["rules_files"].default
assert isinstance(_RULES_FILES, tuple)
DEFAULT_RULES_FILES: Final[tuple[str, ...]] = tuple(map(str, _RULES_FILES))


@dataclass(frozen=True, slots=True)
class Match:
    """Which rules an `append_output` entry is for; what is absent fits any rule."""

    rule: str | None = None
    source: str | None = None
    tags: frozenset[str] = frozenset()

    def fits(self, rule: str, source: str, tags: frozenset[str]) -> bool:
        return self.rule in (None, rule) and self.source in (None, source) and self.tags <= tags


@dataclass(frozen=True, slots=True)
class AppendOutput:
    match: Match = field(default_factory=Match)
    extra_output: str = ""
    extra_fields: tuple[tuple[str, str | None], ...] = ()  # (key, format); format None: the raw field of that name
    suggested_output: bool = False


@dataclass(frozen=True, slots=True)
class Selection:
    """Rules to enable or to disable: those whose name fits the pattern `rule` (`*` is any text), or with the tag."""

    enable: bool
    rule: str | None = None
    tag: str | None = None

    def __str__(self) -> str:
        """The line for the log, as Falco has it."""
        what = f"name: {self.rule}" if self.rule is not None else f"tag: {self.tag}"
        return f"{'Enabling' if self.enable else 'Disabling'} rules with {what}"


@dataclass(frozen=True, slots=True)
class Drops:
    """What is done about lost events: `syscall_event_drops`."""

    threshold: float = 0.1  # of what happened in a second
    actions: tuple[str, ...] = ("log", "alert")
    rate: float = 0.03333  # actions a second, after `max_burst` at once
    max_burst: float = 1.0
    simulate: bool = False


@dataclass(frozen=True, slots=True)
class FileOutput:
    filename: str
    keep_alive: bool = False


@dataclass(frozen=True, slots=True)
class ProgramOutput:
    program: str  # for `sh -c`
    keep_alive: bool = False
    timeout_s: float = 30.0  # over one alert


@dataclass(frozen=True, slots=True)
class HttpOutput:
    """`http_output`; the names are those of the keys."""

    url: str
    format: str = "falco"  # of HTTP_FORMATS
    user_agent: str = "falcosecurity/falco"
    headers: tuple[tuple[str, str], ...] = ()
    insecure: bool = False
    ca_cert: str = ""
    ca_bundle: str = ""
    ca_path: str = "/etc/ssl/certs"
    mtls: bool = False
    client_cert: str = "/etc/ssl/certs/client.crt"
    client_key: str = "/etc/ssl/certs/client.key"
    echo: bool = False
    compress_uploads: bool = False
    keep_alive: bool = False
    max_consecutive_timeouts: int = 5
    max_in_flight: int = 8
    spool_directory: str = "/var/lib/falco"
    spool_max_size_mb: int = 64


@dataclass(frozen=True, slots=True)
class Folding:
    """Which alerts are repeats of one another, and for how long: `fold_repeats`. 0 s folds nothing."""

    interval_s: float = 0.0
    by: tuple[str, ...] = ()  # output fields; none: the whole text


@dataclass(frozen=True, slots=True)
class Outputs:
    """Where alerts go; what is None or False is not enabled."""

    stdout: bool = True
    syslog: bool = False
    file: FileOutput | None = None
    program: ProgramOutput | None = None
    http: HttpOutput | None = None
    buffered: bool = False
    capacity: int = 0  # alerts that wait for one output; 0: the agent's own bound
    timeout_ms: int = 2000
    folding: Folding = field(default_factory=Folding)

    @property
    def any(self) -> bool:
        return bool(self.stdout or self.syslog or self.file or self.program or self.http)


@dataclass(frozen=True, slots=True)
class WebServer:
    listen_address: str = "0.0.0.0"
    listen_port: int = 8765
    k8s_healthz_endpoint: str = "/healthz"
    prometheus_metrics_enabled: bool = False
    ssl_enabled: bool = False
    ssl_certificate: str = "/etc/falco/falco.pem"
    bearer_token: str = ""


@dataclass(frozen=True, slots=True)
class Kubernetes:
    """`kubernetes`, when it is enabled; the names are those of the keys."""

    node_name: str = ""  # known when `pods` is true
    kubeconfig: str = ""
    pods: bool = True
    owners: bool = True
    services: bool = True
    rules_configmap: str = ""
    rules_directory: str = "/etc/falco/rules.d"
    events: bool = True


@dataclass(frozen=True, slots=True)
class Metrics:
    """`metrics`, when it is enabled; the names are those of the keys."""

    interval_ms: int = 3_600_000
    interval: str = "1h"  # as written
    output_rule: bool = True
    output_file: str = ""
    rules_counters_enabled: bool = True
    resource_utilization_enabled: bool = True
    state_counters_enabled: bool = True
    kernel_event_counters_enabled: bool = True
    kernel_event_counters_per_cpu_enabled: bool = False
    libbpf_stats_enabled: bool = True
    plugins_metrics_enabled: bool = True
    convert_memory_to_mb: bool = True
    include_empty_values: bool = False


@dataclass(frozen=True, slots=True)
class Config:
    files: tuple[str, ...] = ()  # what was read
    included: tuple[str, ...] = ()  # paths of config_files, whether they exist or not
    watch_config_files: bool = True
    rules_files: tuple[str, ...] = DEFAULT_RULES_FILES
    rule_matching: str = "first"  # or "all"
    capture_enabled: bool = False
    capture_mode: str = "rules"  # or "all_rules"
    priority: int = 7  # severity of the least severe rules that are loaded; index of PRIORITIES
    json_output: bool = False
    json_include_output_property: bool = True
    json_include_message_property: bool = False
    json_include_output_fields_property: bool = True
    json_include_tags_property: bool = True
    time_format_iso_8601: bool = False
    buffer_format_base64: bool = False
    outputs: Outputs = field(default_factory=Outputs)
    drops: Drops = field(default_factory=Drops)
    max_quiet_s: int = 1000  # syscall_event_timeouts.max_consecutives
    cpu_limit_percent: float = 0.0  # of one core; 0 is no limit
    facts_wait_ms: int = 2000  # that an event waits for facts of its container
    broken_rules_files: str = "fail"  # at the start; or "skip"
    log_stderr: bool = True
    log_syslog: bool = True
    log_level: Level = Level.INFO
    log_json: bool = False
    webserver: WebServer | None = None
    metrics: Metrics | None = None
    kubernetes: Kubernetes | None = None
    append_output: tuple[AppendOutput, ...] = ()
    static_fields: tuple[tuple[str, str], ...] = ()  # (name without "static.", value)
    rules: tuple[Selection, ...] = ()
    warnings: tuple[str, ...] = ()  # lines for the log: keys that nobody knows
    notices: tuple[str, ...] = ()  # lines for the log: keys that have no effect, and what is done instead
