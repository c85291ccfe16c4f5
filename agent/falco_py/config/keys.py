# SPDX-License-Identifier: Apache-2.0
"""The table of falco.yaml's keys: what each takes, its default, what it does, and what is done in place of it.

A key is a row here; from it come the typing of values, the JSON schema, docs/config.md and packaging/falco.yaml.
Invariant: every key of Falco's has a row, so that a file written for Falco is accepted; a key for something that does
not exist here says what is done instead (`instead`), and one that asks for something the user would miss without
noticing is refused (`refuse`).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final

PRIORITIES: Final = ("Emergency", "Alert", "Critical", "Error", "Warning", "Notice", "Informational", "Debug")
"""Falco's priorities as alerts spell them; the index is the severity, syslog's number."""

LOG_LEVELS: Final = ("emergency", "alert", "critical", "error", "warning", "notice", "info", "debug")
HTTP_FORMATS: Final = ("falco", "slack", "alertmanager")


class Kind(Enum):
    """What a key takes; the value is how a message names it."""

    BOOL = "true or false"
    INT = "a whole number"
    NUMBER = "a number"
    TEXT = "text"
    TEXTS = "a list of texts"
    MAP = "keys with texts"
    ANY = "entries of its own form"


Value = bool | int | float | str | tuple[str, ...] | tuple[tuple[str, str], ...] | None


@dataclass(frozen=True, slots=True)
class Key:
    name: str  # dotted
    kind: Kind
    default: Value  # when the key is absent; no notice is given for it
    about: str  # what it does, for the documentation
    choices: tuple[str, ...] = ()
    wrong: str = ""  # Falco's words for a value that is not among the choices; {} is the value
    at_least: float | None = None
    at_most: float | None = None
    instead: str = ""  # no effect: what happens in place of it
    told_by: str = ""  # the key whose notice speaks for this one as well
    quiet: tuple[Value, ...] = ()  # values beside the default that need no notice: what they ask for is so anyway
    refuse: tuple[Value, ...] = ()  # values that cannot be honoured
    remedy: str = ""
    example: str = ""  # YAML; for keys whose default shows nothing
    shipped: str = ""  # YAML; what packaging/falco.yaml has when it is not the default
    ours: bool = False  # Falco has no such key
    secret: bool = False  # may hold a password or a token


def _bool(name: str, default: bool, about: str, instead: str = "", *, told_by: str = "",
          quiet: tuple[Value, ...] = (), shipped: str = "") -> Key:  # fmt: skip
    return Key(name, Kind.BOOL, default, about, instead=instead, told_by=told_by, quiet=quiet, shipped=shipped)


def _own(name: str, default: bool, about: str) -> Key:
    return Key(name, Kind.BOOL, default, about, ours=True)


def _int(name: str, default: int, about: str, instead: str = "", least: int = 0, most: int | None = None,
         *, told_by: str = "", ours: bool = False) -> Key:  # fmt: skip
    return Key(name, Kind.INT, default, about, instead=instead, told_by=told_by, at_least=least, at_most=most,
               ours=ours)  # fmt: skip


def _text(name: str, default: str, about: str, instead: str = "", choices: tuple[str, ...] = (), wrong: str = "", *,
          told_by: str = "", example: str = "", shipped: str = "", ours: bool = False,
          secret: bool = False) -> Key:  # fmt: skip
    return Key(name, Kind.TEXT, default, about, instead=instead, told_by=told_by, choices=choices, wrong=wrong,
               example=example, shipped=shipped, ours=ours, secret=secret)  # fmt: skip


def _texts(name: str, about: str, instead: str, example: str) -> Key:
    return Key(name, Kind.TEXTS, (), about, instead=instead, example=example)


_NO_CAPTURE = "this build writes no capture files; alerts come without them"
_NO_PLUGINS = "nothing is loaded: what plugins give is built in, under the same field names"
_OWN_BUFFERS = "the agent has two rings of its own: 16 MiB for system calls, 8 MiB for programs that start and end"
_OWN_SELECTION = "the kernel tells just the calls that the rules need; a process keeps its facts without others"
_OWN_STATE = "the agent uses its own bound"
_FAILED = "failed calls are seen as well, where a rule looks at them"
_ENGINES = "containers are known by their cgroup and by the files of whatever made them"

GROUPS: Final[dict[str, tuple[Key, ...]]] = {
    "What is read, and in which order": (
        Key("config_files", Kind.ANY, None,
            "further files, directories, or entries with `path` and `strategy` (`append`, `override`, `add-only`)",
            example="[/etc/falco/config.d, {path: /etc/falco/site.yaml, strategy: override}]",
            shipped="[/etc/falco/config.d]"),
        _bool("watch_config_files", True, "reload when the configuration or a rules file changes"),
        Key("rules_files", Kind.TEXTS,
            ("/etc/falco/falco_rules.yaml", "/etc/falco/falco_rules.local.yaml", "/etc/falco/rules.d"),
            "rules files and directories of them, in this order; what is missing is skipped"),
        Key("rules_file", Kind.TEXTS, (), "older name of `rules_files`; not both",
            example="[/etc/falco/falco_rules.yaml]"),
        Key("rule_files", Kind.TEXTS, (), "stands in Falco's schema, but nothing reads it",
            instead="Falco does not read it either; the key for rules files is rules_files",
            example="[/etc/falco/falco_rules.yaml]"),
        Key("rules", Kind.ANY, None,
            "`enable` and `disable` rules by `rule` (a pattern with `*`) or `tag`, in this order",
            example='[{disable: {tag: network}}, {enable: {rule: "Redirect STDOUT*"}}]'),
        _text("rule_matching", "first", "whether an event gives the first rule that matches, or all",
              choices=("first", "all"), wrong='Unknown rule matching strategy "{}"--must be one of first, all'),
        _text("priority", "debug", "rules that are less severe are not loaded"),
    ),
    "What an alert looks like": (
        _bool("json_output", False, "alerts are JSON, an object a line; else text"),
        _bool("json_include_output_property", True, "`output`: the line of text with time and priority"),
        _bool("json_include_message_property", False, "`message`: the line of text without time and priority"),
        _bool("json_include_output_fields_property", True, "`output_fields`: the fields that the output names"),
        _bool("json_include_tags_property", True, "`tags` of the rule"),
        _bool("time_format_iso_8601", False, "times of alerts and of the log are ISO 8601, in UTC"),
        _bool("buffer_format_base64", False, "`evt.buffer` in alerts is base64"),
        Key("append_output", Kind.ANY, None, "text and fields that are added to the output of rules",
            example='[{match: {source: syscall, tags: [network]}, extra_output: "on %evt.hostname", '
                    'extra_fields: [proc.exepath, {who: "%user.name"}]}]',
            shipped="[{suggested_output: true}]"),
        Key("static_fields", Kind.ANY, None, "constants: `NAME: value` makes the field `static.NAME`",
            example="{site: berlin, rack: 12}"),
    ),
    "Where alerts go": (
        _bool("buffered_outputs", False, "stdout and file write blocks of 64 KiB; else each alert at once"),
        _bool("stdout_output.enabled", True, "alerts go to standard output"),
        _bool("syslog_output.enabled", False, "alerts go to `/dev/log`: facility daemon, severity of the rule",
              shipped="true"),
        _bool("file_output.enabled", False, "alerts go to a file"),
        _bool("file_output.keep_alive", False, "the file stays open until SIGUSR1; else it is opened for each write"),
        _text("file_output.filename", "./events.txt", "the file; lines are appended",
              shipped="/var/log/falco/events.txt"),
        _bool("program_output.enabled", False, "alerts go to the standard input of a program, one a line"),
        _bool("program_output.keep_alive", False, "one process takes all alerts; else one is started for each"),
        _text("program_output.program", "", "the command, for `sh -c`",
              example="\"jq '{text: .output}' | curl -d @- -X POST https://chat.example/hook\"", secret=True),
        Key("program_output.timeout_s", Kind.NUMBER, 30,
            "how long a program may take over one alert; then it is killed", at_least=0.1, at_most=3600, ours=True),
        _bool("http_output.enabled", False, "alerts are posted to a URL, over a spool on disk"),
        _text("http_output.url", "", "where they go, `http://` or `https://`",
              example="https://receiver.example:8443/alerts", secret=True),
        _text("http_output.format", "falco", "shape of the body: Falco's own, or what Slack or Alertmanager takes",
              choices=HTTP_FORMATS, ours=True),
        _text("http_output.user_agent", "falcosecurity/falco", "header `User-Agent`"),
        Key("http_output.headers", Kind.MAP, (), "further headers", example='{Authorization: "Bearer ${TOKEN}"}',
            ours=True, secret=True),
        _bool("http_output.insecure", False, "do not verify the certificate of the receiver"),
        _text("http_output.ca_cert", "", "a certificate of an authority that is trusted as well",
              example="/etc/falco/ca.crt"),
        _text("http_output.ca_bundle", "", "a file of several of them", example="/etc/falco/bundle.crt"),
        _text("http_output.ca_path", "/etc/ssl/certs", "a directory of them, named by their hashes"),
        _bool("http_output.mtls", False, "show the receiver a certificate of the agent's own"),
        _text("http_output.client_cert", "/etc/ssl/certs/client.crt", "the certificate for `mtls`"),
        _text("http_output.client_key", "/etc/ssl/certs/client.key", "its key"),
        _bool("http_output.echo", False, "answers of the receiver go to the log"),
        _bool("http_output.compress_uploads", False, "bodies are compressed with gzip"),
        _bool("http_output.keep_alive", False, "connections stay open while nothing is sent"),
        _int("http_output.max_consecutive_timeouts", 5,
             "after so many time-outs in a row the receiver counts as away; alerts wait in the spool"),
        _int("http_output.max_in_flight", 8, "requests at the same time; with 1 the order of alerts is kept", least=1,
             most=64, ours=True),
        _text("http_output.spool.directory", "/var/lib/falco",
              "where alerts wait until the receiver has taken them", ours=True),
        _int("http_output.spool.max_size_mb", 64,
             "size of the spool; when full the oldest of the least severe are given up", least=1, most=65536,
             ours=True),
        _int("outputs_queue.capacity", 0,
             "alerts that wait for one output; 0 is 10,000. When full the oldest of the least severe are given up"),
        Key("fold_repeats.interval_s", Kind.NUMBER, 0,
            "the same alert again within this time is counted, not told; at its end the count is; 0 tells each",
            at_least=0, at_most=86400, ours=True),
        Key("fold_repeats.by", Kind.TEXTS, (),
            "output fields that make two alerts of a rule the same; without them it is the whole text",
            example="[proc.name, container.id]", ours=True),
        _int("output_timeout", 2000,
             "how long an output may take over one alert, in ms, before the log tells; the limit of a request of "
             "`http_output`; 0 tells nothing, and is 30 s for requests"),
    ),
    "The agent's own log": (
        _bool("log_stderr", True, "the agent's log goes to standard error"),
        _bool("log_syslog", True, "and to `/dev/log`, unless standard error goes to the journal already"),
        _text("log_level", "info", "least severe lines that are logged", choices=LOG_LEVELS,
              wrong="Unknown log level {}"),
        _text("log_format", "text", "lines of text, or JSON objects with `time`, `level` and `message`",
              choices=("text", "json"), ours=True),
        _bool("libs_logger.enabled", True, "log of the capturing library", "the log is one, with log_level",
              quiet=(False,)),
        _text("libs_logger.severity", "info", "its level", "the log has one level, log_level",
              choices=("fatal", "critical", "error", "warning", "notice", "info", "debug", "trace"),
              wrong="Unknown sinsp log severity {}"),
    ),
    "Where events come from": (
        Key("engine.kind", Kind.TEXT, "modern_ebpf", "where events come from",
            choices=("kmod", "modern_ebpf", "replay", "nodriver"), wrong="engine.kind '{}' is not a valid kind.",
            instead="events come from CO-RE eBPF in any case; no kernel module is needed",
            refuse=("replay", "nodriver"),
            remedy="Set engine.kind to modern_ebpf: this build watches the running kernel only."),
        _int("engine.kmod.buf_size_preset", 4, "size of its buffers", _OWN_BUFFERS, most=10, told_by="engine.kind"),
        _bool("engine.kmod.drop_failed_exit", False, "leave out failed calls", _FAILED, told_by="engine.kind"),
        _int("engine.modern_ebpf.cpus_for_each_buffer", 2, "CPUs that share a buffer", _OWN_BUFFERS),
        _int("engine.modern_ebpf.buf_size_preset", 4, "size of its buffers", _OWN_BUFFERS, most=10),
        _bool("engine.modern_ebpf.drop_failed_exit", False, "leave out failed calls", _FAILED),
        _bool("engine.modern_ebpf.disable_iterators", False, "read `/proc` at start",
              "the processes that run at start are read from /proc in any case", quiet=(True,)),
        _text("engine.replay.capture_file", "", "a capture to read", "captures cannot be replayed",
              told_by="engine.kind", example="/tmp/falco.scap"),
        Key("engine.falco_py.cpu_limit_percent", Kind.NUMBER, 0,
            "share of one core that the agent may use; above it the least severe rules are not asked; 0 is no limit",
            at_least=0, ours=True),
        Key("engine.falco_py.facts_wait_ms", Kind.INT, 2000,
            "how long an event of a container waits for the container's facts when nothing has them yet; then it is "
            "tested without, and its alert says what was missing; 0 waits for nothing", at_least=0, at_most=30000,
            ours=True),
        _text("engine.falco_py.broken_rules_files", "fail",
              "what is done at the start with rules files that have mistakes: `fail` ends it, `skip` starts with the "
              "other files and tells of it. A reload with a mistake changes nothing in either case",
              choices=("fail", "skip"), ours=True),
        _bool("capture.enabled", False, "write a capture file when a rule fires", _NO_CAPTURE),
        _text("capture.path_prefix", "/tmp/falco", "beginning of its path", _NO_CAPTURE, told_by="capture.enabled"),
        _text("capture.mode", "rules", "for rules that say `capture: true`, or for all", _NO_CAPTURE,
              choices=("rules", "all_rules"), wrong="capture.mode '{}' is not a valid mode.",
              told_by="capture.enabled"),
        _int("capture.default_duration", 5000, "how long, in ms", _NO_CAPTURE, told_by="capture.enabled"),
        _int("capture.max_file_size_mb", 0, "how large; 0 is no limit", _NO_CAPTURE, told_by="capture.enabled"),
        Key("load_plugins", Kind.TEXTS, (), "plugins to load; when absent, all of `plugins`", instead=_NO_PLUGINS,
            told_by="plugins", example="[container]"),
        Key("plugins", Kind.ANY, None, "how plugins are set up", instead=_NO_PLUGINS, told_by="load_plugins",
            example='[{name: json, library_path: libjson.so, init_config: "", open_params: ""}]'),
        _bool("plugins_hostinfo", True, "facts of the host for plugins", "rules of all sources may read them"),
        *(
            _bool(f"container_engines.{name}.enabled", True, f"ask {name} about containers", _ENGINES)
            for name in ("docker", "podman", "lxc", "libvirt_lxc", "bpm", "cri")
        ),
        _texts("container_engines.cri.sockets", "sockets of CRI runtimes", _ENGINES,
               "[/run/containerd/containerd.sock]"),
        _bool("container_engines.cri.disable_async", False, "wait for its answers", _ENGINES),
        _texts("base_syscalls.custom_set", "calls that are watched beside those of the rules", _OWN_SELECTION,
               '[clone, fork, "!mprotect"]'),
        _bool("base_syscalls.repair", False, "watch the fewest calls that keep the state right", _OWN_SELECTION),
        _bool("base_syscalls.all", False, "watch I/O calls too", "I/O calls are watched where a rule names them"),
        _int("falco_libs.thread_table_size", 262144, "entries of the thread table", _OWN_STATE),
        _int("falco_libs.thread_table_auto_purging_interval_s", 300, "time between two purges of it", _OWN_STATE),
        _int("falco_libs.thread_table_auto_purging_thread_timeout_s", 300, "age of what is purged", _OWN_STATE),
        _int("falco_libs.snaplen", 80, "bytes of a buffer that are kept", _OWN_STATE),
    ),
    "Kubernetes": (
        _own("kubernetes.enabled", False, "ask the API server, with the rights of the pod's service account"),
        _text("kubernetes.kubeconfig", "", "ask as this file says instead", example="/etc/falco/kubeconfig", ours=True),
        _text("kubernetes.node_name", "", "name of this node; when absent, that in FALCO_K8S_NODE_NAME",
              example='"${NODE}"', ours=True),
        _own("kubernetes.pods", True, "watch the pods of this node, and namespaces where rules ask for their labels"),
        _own("kubernetes.owners", True, "watch ReplicaSets, Deployments, ReplicationControllers and Jobs where rules "
             "ask for them"),
        _own("kubernetes.services", True, "watch Services where rules ask for them"),
        _text("kubernetes.rules_configmap", "", "NAME (in the pod's own namespace) or NAMESPACE/NAME of the ConfigMap "
              "that is mounted at `kubernetes.rules_directory`: a change counts at once, not when the volume has it",
              example="falco-rules", ours=True),
        _text("kubernetes.rules_directory", "/etc/falco/rules.d", "where it is mounted", ours=True),
        _own("kubernetes.events", True, "write Events on that ConfigMap when its rules are refused, and loaded again"),
    ),
    "What the agent tells of itself": (
        _int("syscall_event_timeouts.max_consecutives", 1000,
             "after so many seconds without any event the capture is tried; when it is dead an alert tells", least=1),
        Key("syscall_event_drops.threshold", Kind.NUMBER, 0.1, "share of a second's events whose loss is told",
            at_least=0, at_most=1),
        Key("syscall_event_drops.actions", Kind.TEXTS, ("log", "alert"), "what is done about it",
            choices=("ignore", "log", "alert", "exit"),
            wrong='available actions for syscall event drops are "ignore", "log", "alert", and "exit"'),
        Key("syscall_event_drops.rate", Kind.NUMBER, 0.03333, "actions a second, after `max_burst` at once",
            at_least=0),
        Key("syscall_event_drops.max_burst", Kind.NUMBER, 1, "actions at once", at_least=0),
        _bool("syscall_event_drops.simulate_drops", False, "tell of a loss each second, to try the receivers"),
        _bool("webserver.enabled", False, "answer over HTTP", shipped="true"),
        _int("webserver.threadiness", 0, "threads of the server", "one thread serves all"),
        _int("webserver.listen_port", 8765, "port; 0 is any free one, which the log tells", most=65535),
        _text("webserver.listen_address", "0.0.0.0",
              "address, not a name; `127.0.0.1` is this machine only, `0.0.0.0` all its networks", shipped="127.0.0.1"),
        _text("webserver.k8s_healthz_endpoint", "/healthz", "path of the health check"),
        _bool("webserver.prometheus_metrics_enabled", False,
              "serve `/metrics`, when `metrics.enabled` is true as well"),
        _bool("webserver.ssl_enabled", False, "serve HTTPS"),
        _text("webserver.ssl_certificate", "/etc/falco/falco.pem", "PEM file with key and certificate"),
        _text("webserver.bearer_token", "", "`/metrics` and `/versions` want `Authorization: Bearer` with this",
              example='"${FALCO_TOKEN}"', ours=True, secret=True),
        _bool("metrics.enabled", False, "count, and tell by one or more of `metrics.output_rule`, "
              "`metrics.output_file` and `webserver.prometheus_metrics_enabled`"),
        _text("metrics.interval", "1h", "time between two tellings: `30m`, `1h30m`, `500ms`; at least 100ms"),
        _bool("metrics.output_rule", True, "tell by an alert, `Falco internal: metrics snapshot`"),
        _text("metrics.output_file", "", "append JSON lines to this file", example="/var/log/falco/metrics.jsonl"),
        _bool("metrics.rules_counters_enabled", True, "matches, and costs, by rule"),
        _bool("metrics.resource_utilization_enabled", True, "CPU and memory of the agent and the host"),
        _bool("metrics.state_counters_enabled", True, "the process table"),
        _bool("metrics.kernel_event_counters_enabled", True, "events told, lost and shed"),
        _bool("metrics.kernel_event_counters_per_cpu_enabled", False, "the same by CPU"),
        _bool("metrics.libbpf_stats_enabled", True,
              "runs and times of the kernel programs; they count while `kernel.bpf_stats_enabled` is 1"),
        _bool("metrics.plugins_metrics_enabled", True, "containers seen, as the container plugin names them"),
        _bool("metrics.kernel_iter_event_counters_enabled", True, "of BPF iterators",
              "no iterators are used, so there is nothing to count", quiet=(False,)),
        _bool("metrics.jemalloc_stats_enabled", False, "of the allocator",
              "Python's allocator has no such figures; memory is among resource_utilization"),
        _bool("metrics.convert_memory_to_mb", True, "memory in MB, in alerts and the file"),
        _bool("metrics.include_empty_values", False, "tell counters that are 0, too"),
    ),
}  # fmt: skip
"""Rows under the headings of the documentation."""

KEYS: Final[dict[str, Key]] = {key.name: key for rows in GROUPS.values() for key in rows}

SECTIONS: Final[frozenset[str]] = frozenset(
    ".".join(parts[:end]) for parts in (name.split(".") for name in KEYS) for end in range(1, len(parts))
)
"""Dotted names that hold keys: `engine`, `engine.kmod`, ..."""
