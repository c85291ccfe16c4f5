# SPDX-License-Identifier: Apache-2.0
"""The table of falco.yaml's keys: what each takes, Falco's default, and what this build does with it.

A key is a row here. Invariant: every key that Falco's own configuration file uses has a row, so that such a file is
accepted; a key that has no effect yet says so (`instead`), and one that asks for something the user would miss
without noticing (an output that gets no alerts) is refused (`refuse`).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final

PRIORITIES: Final = ("Emergency", "Alert", "Critical", "Error", "Warning", "Notice", "Informational", "Debug")
"""Falco's priorities as alerts spell them; the index is the severity, syslog's number."""

LOG_LEVELS: Final = ("emergency", "alert", "critical", "error", "warning", "notice", "info", "debug")


class Kind(Enum):
    """What a key takes; the value is how a message names it."""

    BOOL = "true or false"
    INT = "a whole number"
    NUMBER = "a number"
    TEXT = "text"
    TEXTS = "a list of texts"
    ANY = "anything"


Value = bool | int | float | str | tuple[str, ...] | None


@dataclass(frozen=True, slots=True)
class Key:
    name: str  # dotted
    kind: Kind
    default: Value  # what Falco's own file sets
    choices: tuple[str, ...] = ()
    at_least: int | None = None
    at_most: float | None = None
    instead: str = ""  # no effect yet: what happens in place of it
    refuse: tuple[Value, ...] = ()  # values that cannot be honoured
    remedy: str = ""
    quiet: tuple[Value, ...] = ()  # values that need no notice, when they are not just the default


def _bool(name: str, default: bool, instead: str = "", *, quiet: tuple[Value, ...] | None = None) -> Key:
    return Key(name, Kind.BOOL, default, instead=instead, quiet=(default,) if quiet is None else quiet)


def _int(name: str, default: int, instead: str = "", least: int = 0, most: int | None = None) -> Key:
    return Key(name, Kind.INT, default, instead=instead, quiet=(default,), at_least=least, at_most=most)


def _text(name: str, default: str, instead: str = "", choices: tuple[str, ...] = ()) -> Key:
    return Key(name, Kind.TEXT, default, instead=instead, quiet=(default,), choices=choices)


def _any(name: str, instead: str = "") -> Key:
    return Key(name, Kind.ANY, None, instead=instead, quiet=(None,))


def _output(name: str) -> Key:
    return Key(
        f"{name}.enabled",
        Kind.BOOL,
        False,
        refuse=(True,),
        remedy=f"Set {name}.enabled to false: alerts go to stdout, from where a pipe or a file can take them.",
    )


_NO_METRICS = "there are no metrics yet"
_NO_WEB = "there is no web server yet"
_NO_CAPTURE = "nothing is captured"
_NO_PLUGINS = "plugins are not loaded"
_OWN_BUFFERS = "the agent sizes its own buffers"
_OWN_SELECTION = "the syscalls watched are those the rules need"
_OWN_STATE = "the agent uses its own bound"
_NO_SYSLOG = "nothing is sent to syslog"
_NO_OUTPUT = "that output does not exist yet"

_ROWS: Final = (
    # What is read, and in which order.
    Key("config_files", Kind.ANY, None),
    _bool("watch_config_files", True),
    Key(
        "rules_files",
        Kind.TEXTS,
        ("/etc/falco/falco_rules.yaml", "/etc/falco/falco_rules.local.yaml", "/etc/falco/rules.d"),
    ),
    Key("rules_file", Kind.TEXTS, ()),
    Key("rules", Kind.ANY, None),
    _text("rule_matching", "first", choices=("first", "all")),
    _text("priority", "debug"),
    # What an alert looks like.
    _bool("json_output", False),
    _bool("json_include_output_property", True),
    _bool("json_include_message_property", False),
    _bool("json_include_output_fields_property", True),
    _bool("json_include_tags_property", True),
    _bool("time_format_iso_8601", False),
    _bool("buffer_format_base64", False, "buffers are given as text"),
    Key("append_output", Kind.ANY, None),
    Key("static_fields", Kind.ANY, None),
    # Where alerts go.
    _bool("buffered_outputs", False),
    _bool("stdout_output.enabled", True),
    _bool("syslog_output.enabled", True, "alerts go to stdout only", quiet=(False,)),
    _output("file_output"),
    _bool("file_output.keep_alive", False, _NO_OUTPUT),
    _text("file_output.filename", "./events.txt"),
    _output("program_output"),
    _bool("program_output.keep_alive", False, _NO_OUTPUT),
    _text("program_output.program", ""),
    _output("http_output"),
    _text("http_output.url", ""),
    _text("http_output.user_agent", "falcosecurity/falco"),
    _bool("http_output.insecure", False, _NO_OUTPUT),
    _text("http_output.ca_cert", ""),
    _text("http_output.ca_bundle", ""),
    _text("http_output.ca_path", "/etc/ssl/certs"),
    _bool("http_output.mtls", False, _NO_OUTPUT),
    _text("http_output.client_cert", "/etc/ssl/certs/client.crt"),
    _text("http_output.client_key", "/etc/ssl/certs/client.key"),
    _bool("http_output.echo", False, _NO_OUTPUT),
    _bool("http_output.compress_uploads", False, _NO_OUTPUT),
    _bool("http_output.keep_alive", False, _NO_OUTPUT),
    _int("http_output.max_consecutive_timeouts", 5, _NO_OUTPUT),
    _int("outputs_queue.capacity", 0, "alerts are written as they come, without a queue"),
    _int("output_timeout", 2000, "a write to stdout may wait 2000 ms"),
    # The agent's own log.
    _bool("log_stderr", True),
    _bool("log_syslog", True, _NO_SYSLOG, quiet=(False,)),
    _text("log_level", "info", choices=LOG_LEVELS),
    _bool("libs_logger.enabled", True),
    _text(
        "libs_logger.severity",
        "info",
        "the log has one level, log_level",
        choices=("fatal", "critical", "error", "warning", "notice", "info", "debug", "trace"),
    ),
    # Where events come from.
    Key(
        "engine.kind",
        Kind.TEXT,
        "modern_ebpf",
        choices=("kmod", "modern_ebpf", "replay", "nodriver"),
        instead="events come from CO-RE eBPF in any case",
        refuse=("replay", "nodriver"),
        remedy="Set engine.kind to modern_ebpf: this build watches the running kernel only.",
        quiet=("modern_ebpf",),
    ),
    _int("engine.kmod.buf_size_preset", 4, _OWN_BUFFERS, most=10),
    _bool("engine.kmod.drop_failed_exit", False, "failed syscalls are seen as well"),
    _int("engine.modern_ebpf.cpus_for_each_buffer", 2, _OWN_BUFFERS),
    _int("engine.modern_ebpf.buf_size_preset", 4, _OWN_BUFFERS, most=10),
    _bool("engine.modern_ebpf.drop_failed_exit", False, "failed syscalls are seen as well"),
    _bool("engine.modern_ebpf.disable_iterators", False),
    _text("engine.replay.capture_file", ""),
    Key("engine.falco_py.cpu_limit_percent", Kind.NUMBER, 0, at_least=0),  # ours; of one core, 0 is no limit
    _bool("capture.enabled", False, _NO_CAPTURE),
    _text("capture.path_prefix", "/tmp/falco"),
    _text("capture.mode", "rules", choices=("rules", "all_rules")),
    _int("capture.default_duration", 5000),
    _int("capture.max_file_size_mb", 0),
    _any("load_plugins", _NO_PLUGINS),
    _any("plugins"),
    _bool("plugins_hostinfo", True),
    _any("base_syscalls.custom_set", _OWN_SELECTION),
    _bool("base_syscalls.repair", False, _OWN_SELECTION),
    _bool("base_syscalls.all", False, _OWN_SELECTION),
    _int("falco_libs.thread_table_size", 262144, _OWN_STATE),
    _int("falco_libs.thread_table_auto_purging_interval_s", 300, _OWN_STATE),
    _int("falco_libs.thread_table_auto_purging_thread_timeout_s", 300, _OWN_STATE),
    _int("falco_libs.snaplen", 80, _OWN_STATE),
    # What the agent tells of itself.
    _int("syscall_event_timeouts.max_consecutives", 1000, "a quiet machine is not told of", least=1),
    Key("syscall_event_drops.threshold", Kind.NUMBER, 0.1, at_least=0, at_most=1),
    Key("syscall_event_drops.actions", Kind.TEXTS, ("log", "alert"), choices=("ignore", "log", "alert", "exit")),
    Key("syscall_event_drops.rate", Kind.NUMBER, 0.03333, at_least=0),
    Key("syscall_event_drops.max_burst", Kind.NUMBER, 1, at_least=0),
    _bool("syscall_event_drops.simulate_drops", False),
    _bool("webserver.enabled", True, _NO_WEB, quiet=(False,)),
    _int("webserver.threadiness", 0, _NO_WEB),
    _int("webserver.listen_port", 8765, _NO_WEB, most=65535),
    _text("webserver.listen_address", "0.0.0.0", _NO_WEB),
    _text("webserver.k8s_healthz_endpoint", "/healthz", _NO_WEB),
    _bool("webserver.prometheus_metrics_enabled", False, _NO_WEB),
    _bool("webserver.ssl_enabled", False, _NO_WEB),
    _text("webserver.ssl_certificate", "/etc/falco/falco.pem"),
    _bool("metrics.enabled", False, _NO_METRICS),
    _text("metrics.interval", "1h"),
    _bool("metrics.output_rule", True),
    _text("metrics.output_file", ""),
    _bool("metrics.rules_counters_enabled", True),
    _bool("metrics.resource_utilization_enabled", True),
    _bool("metrics.state_counters_enabled", True),
    _bool("metrics.kernel_event_counters_enabled", True),
    _bool("metrics.kernel_event_counters_per_cpu_enabled", False),
    _bool("metrics.libbpf_stats_enabled", True),
    _bool("metrics.plugins_metrics_enabled", True),
    _bool("metrics.kernel_iter_event_counters_enabled", True),
    _bool("metrics.jemalloc_stats_enabled", False),
    _bool("metrics.convert_memory_to_mb", True),
    _bool("metrics.include_empty_values", False),
)

KEYS: Final[dict[str, Key]] = {key.name: key for key in _ROWS}

SECTIONS: Final[frozenset[str]] = frozenset(
    ".".join(parts[:end]) for parts in (name.split(".") for name in KEYS) for end in range(1, len(parts))
)
"""Dotted names that hold keys: `engine`, `engine.kmod`, ..."""
