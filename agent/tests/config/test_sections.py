# SPDX-License-Identifier: Apache-2.0
"""Outputs, web server, metrics and drops: what is read, and what does not fit together."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from falco_py.config import (
    Config,
    ConfigError,
    Drops,
    FileOutput,
    Folding,
    HttpOutput,
    Kubernetes,
    Metrics,
    Outputs,
    ProgramOutput,
    WebServer,
    load,
)
from tests.config.reading import problem

if TYPE_CHECKING:
    from tests.config.reading import Write

METRICS = "Metrics interval must have a minimum value of 100ms and reflect a Prometheus compliant time duration format"


class TestOutputs:
    def test_without_any_word_alerts_go_to_stdout_only(self) -> None:
        assert load(None).outputs == Outputs(stdout=True) == Config().outputs

    def test_stdout_and_syslog(self, write: Write) -> None:
        read = load(write("stdout_output: {enabled: false}\nsyslog_output: {enabled: true}\nbuffered_outputs: true"))
        assert read.outputs == Outputs(stdout=False, syslog=True, buffered=True)

    def test_file(self, write: Write) -> None:
        read = load(write("file_output: {enabled: true, keep_alive: true, filename: /var/log/x}"))
        assert read.outputs.file == FileOutput("/var/log/x", keep_alive=True)
        assert load(None, ["file_output.enabled=true"]).outputs.file == FileOutput("./events.txt")

    def test_program(self, write: Write) -> None:
        program = "jq '{text: .output}' | curl -d @- -X POST http://127.0.0.1/x"
        read = load(write(f'program_output: {{enabled: true, keep_alive: yes, program: "{program}", timeout_s: 2.5}}'))
        assert read.outputs.program == ProgramOutput(program, keep_alive=True, timeout_s=2.5)
        assert load(None, ["program_output={enabled: true, program: cat}"]).outputs.program == ProgramOutput("cat")

    def test_http(self, write: Write) -> None:
        read = load(
            write("""
http_output:
  enabled: true
  url: https://receiver:8443/alerts?a=b
  format: Slack
  user_agent: me
  headers: {X-One: 1, Authorization: Bearer x}
  insecure: true
  ca_cert: /1
  ca_bundle: /2
  ca_path: /3
  mtls: true
  client_cert: /4
  client_key: /5
  echo: true
  compress_uploads: true
  keep_alive: true
  max_consecutive_timeouts: 7
  max_in_flight: 2
  spool: {directory: /6, max_size_mb: 9}
""")
        )
        assert read.outputs.http == HttpOutput(
            url="https://receiver:8443/alerts?a=b", format="slack", user_agent="me",
            headers=(("X-One", "1"), ("Authorization", "Bearer x")), insecure=True, ca_cert="/1", ca_bundle="/2",
            ca_path="/3", mtls=True, client_cert="/4", client_key="/5", echo=True, compress_uploads=True,
            keep_alive=True, max_consecutive_timeouts=7, max_in_flight=2, spool_directory="/6", spool_max_size_mb=9,
        )  # fmt: skip
        assert (read.warnings, read.notices) == ((), ())
        defaults = load(None, ["http_output={enabled: true, url: http://a}"]).outputs.http
        assert defaults == HttpOutput("http://a")

    def test_what_belongs_to_no_output_in_particular(self, write: Write) -> None:
        read = load(
            write("outputs_queue: {capacity: 5}\noutput_timeout: 0\nfold_repeats: {interval_s: 60, by: [proc.name]}")
        )
        assert read.outputs == Outputs(capacity=5, timeout_ms=0, folding=Folding(60.0, ("proc.name",)))

    @pytest.mark.parametrize(
        ("name", "key", "others"),
        [("file", "filename", "filename: ''"), ("program", "program", "keep_alive: true"), ("http", "url", "url: ' '")],
    )
    def test_an_output_without_its_target_is_refused(self, write: Write, name: str, key: str, others: str) -> None:
        path = write(f"{name}_output:\n  enabled: true\n  {others}\n")
        told = problem(path)
        assert told.startswith(f"{path}:2:12: {name} output enabled but no {key} in configuration block\n")
        assert f"{name}_output.{key}" in told
        assert load(path, [f"{name}_output.enabled=false"]).outputs == Outputs()

    @pytest.mark.parametrize(
        "url",
        ["ftp://a/b", "receiver:80/a", "//a", "http://", "http://:80/", "http://a:0", "http://a:99999", "http://[x"],
    )
    def test_alerts_are_posted_to_http_and_https_only(self, url: str) -> None:
        told = problem(None, "http_output.enabled=true", f"http_output.url='{url}'")
        assert "http_output.url: expected http:// or https:// and a host" in told
        assert "For example: http_output.url: https://" in told

    @pytest.mark.parametrize("url", ["http://a", "https://[::1]:8443/a", "HTTPS://A/b", "http://me:pw@a/"])
    def test_and_there_in_any_form(self, url: str) -> None:
        http = load(None, ["http_output.enabled=true", f"http_output.url='{url}'"]).outputs.http
        assert http is not None
        assert http.url == url

    @pytest.mark.parametrize(
        ("headers", "told"),
        [
            ("[a]", "http_output.headers: expected keys with texts"),
            ("x", "http_output.headers: expected keys with texts"),
            ("{a: [b]}", "http_output.headers: expected keys with texts"),
            ('{"a b": c}', 'http_output.headers: "a b" cannot be a header'),
            ('{a: "b\\nc: d"}', 'http_output.headers: "a" cannot be a header'),
        ],
    )
    def test_what_is_no_header_is_refused(self, write: Write, headers: str, told: str) -> None:
        path = write(f"http_output:\n  enabled: true\n  url: http://a\n  headers: {headers}\n")
        first, *_ = problem(path).split("\n")
        assert first.startswith(f"{path}:4:")
        assert first.endswith(told)

    def test_a_header_given_twice_is_told(self, write: Write) -> None:
        (warning,) = load(write("http_output: {headers: {a: 1, a: 2}}")).warnings
        assert warning.endswith('"http_output.headers: a" is given twice; the first one counts')

    def test_a_certificate_that_nobody_sees_is_told(self, write: Write) -> None:
        path = write("http_output: {enabled: true, url: http://a, mtls: true}")
        assert load(path).warnings == (f"{path}:1:51: http_output.mtls has no effect over http://",)

    def test_no_output_at_all_is_refused(self, write: Write) -> None:
        path = write("stdout_output:\n  enabled: false\n")
        assert problem(path).startswith(
            f"{path}:2:12: No output configured, please make sure at least one output is configured and enabled.\n"
        )

    def test_any_output_is_enough(self) -> None:
        for others in (
            ["syslog_output.enabled=true"],
            ["file_output.enabled=true"],
            ["program_output={enabled: true, program: cat}"],
            ["http_output={enabled: true, url: http://a}"],
        ):
            assert load(None, ["stdout_output.enabled=false", *others]).outputs.any


class TestWebServer:
    def test_it_is_off_unless_asked_for(self) -> None:
        assert load(None).webserver is None

    def test_its_keys(self, write: Write) -> None:
        read = load(
            write("""
webserver:
  enabled: true
  threadiness: 0
  listen_port: 0
  listen_address: "::1"
  k8s_healthz_endpoint: /ok
  prometheus_metrics_enabled: true
  ssl_enabled: true
  ssl_certificate: /1
  bearer_token: t
""")
        )
        assert read.webserver == WebServer("::1", 0, "/ok", True, True, "/1", "t")
        assert read.notices == ()
        assert load(None, ["webserver.enabled=true"]).webserver == WebServer()

    @pytest.mark.parametrize("port", ["0", "1", "65535"])
    def test_ports(self, port: str) -> None:
        server = load(None, ["webserver.enabled=true", f"webserver.listen_port={port}"]).webserver
        assert server is not None
        assert server.listen_port == int(port)

    @pytest.mark.parametrize("port", ["-1", "65536", "http", "80.5", "0x50"])
    def test_what_is_no_port(self, port: str) -> None:
        told = f'webserver.listen_port: expected a whole number from 0 to 65535, found "{port}"'
        assert told in problem(None, f"webserver.listen_port={port}")

    @pytest.mark.parametrize("address", ["localhost", "", "1.2.3", "0.0.0.0:80", "*"])
    def test_an_address_is_no_name(self, write: Write, address: str) -> None:
        path = write(f"webserver:\n  enabled: true\n  listen_address: '{address}'\n")
        assert problem(path).startswith(
            f'{path}:3:19: webserver listen address "{address}" is not a valid IP address\n'
        )
        assert load(path, ["webserver.enabled=false"]).webserver is None  # nobody listens there

    def test_the_health_check_has_a_path(self) -> None:
        told = problem(None, "webserver.enabled=true", "webserver.k8s_healthz_endpoint=healthz")
        assert "webserver.k8s_healthz_endpoint: expected a path that begins with /" in told

    def test_more_threads_are_told_to_be_one(self, write: Write) -> None:
        (notice,) = load(write("webserver: {threadiness: 4}")).notices
        assert "webserver.threadiness: has no effect; one thread serves all" in notice


class TestKubernetes:
    def test_it_is_off_unless_asked_for(self) -> None:
        assert load(None).kubernetes is None
        assert load(None, ["kubernetes.node_name=node-1"]).kubernetes is None

    def test_its_keys(self, write: Write) -> None:
        read = load(
            write("""
kubernetes:
  enabled: true
  kubeconfig: /k
  node_name: a.b
  pods: false
  owners: false
  services: false
  rules_configmap: ns/rules
  rules_directory: /r
  events: false
""")
        )
        assert read.kubernetes == Kubernetes("a.b", "/k", False, False, False, "ns/rules", "/r", False)

    def test_the_name_of_the_node_may_come_from_the_pod(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("FALCO_K8S_NODE_NAME", "node-1")
        assert load(None, ["kubernetes.enabled=true"]).kubernetes == Kubernetes("node-1")
        other = load(None, ["kubernetes.enabled=true", "kubernetes.node_name=node-2"]).kubernetes
        assert other == Kubernetes("node-2")

    def test_pods_are_not_watched_without_a_node(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("FALCO_K8S_NODE_NAME", raising=False)
        told = problem(None, "kubernetes.enabled=true")
        assert "the node's name is not known" in told
        assert "set FALCO_K8S_NODE_NAME from the pod's spec.nodeName" in told
        assert load(None, ["kubernetes.enabled=true", "kubernetes.pods=false"]).kubernetes == Kubernetes(pods=False)

    @pytest.mark.parametrize("name", ["Node", "a b", "-a", "a/b", "a,spec.nodeName=b", "a" * 254])
    def test_what_is_no_name_of_a_node(self, name: str) -> None:
        told = problem(None, "kubernetes.enabled=true", f"kubernetes.node_name={name}")
        assert f'kubernetes.node_name: "{name}" is not the name of a node' in told

    @pytest.mark.parametrize("name", ["Rules", "a/b/c", "/a", "a/", "a=b", "../a"])
    def test_what_is_no_name_of_a_configmap(self, name: str) -> None:
        words = ["kubernetes.enabled=true", "kubernetes.pods=false", f"kubernetes.rules_configmap={name}"]
        assert f'kubernetes.rules_configmap: "{name}" is not the name of a ConfigMap' in problem(None, *words)

    def test_the_directory_of_rules_is_a_whole_path(self) -> None:
        words = ["kubernetes.enabled=true", "kubernetes.pods=false", "kubernetes.rules_directory=rules.d"]
        assert "kubernetes.rules_directory: expected an absolute path" in problem(None, *words)


class TestMetrics:
    def test_they_are_off_unless_asked_for(self) -> None:
        assert load(None).metrics is None

    def test_their_keys(self, write: Write) -> None:
        words = [
            "rules_counters_enabled", "resource_utilization_enabled", "state_counters_enabled",
            "kernel_event_counters_enabled", "libbpf_stats_enabled", "plugins_metrics_enabled", "convert_memory_to_mb",
        ]  # fmt: skip
        off = ", ".join(f"{word}: false" for word in words)
        on = "kernel_event_counters_per_cpu_enabled: true, include_empty_values: true"
        read = load(
            write(f"metrics: {{enabled: true, interval: 1h30m, output_rule: false, output_file: /m, {off}, {on}}}")
        )
        assert read.metrics == Metrics(
            5_400_000, "1h30m", False, "/m", False, False, False, False, True, False, False, False, True
        )
        assert load(None, ["metrics.enabled=true"]).metrics == Metrics()

    @pytest.mark.parametrize("interval", ["30m1h", "5000", "50ms", "", "1.5h", "-1h", "1h1h", "0s"])
    def test_a_wrong_interval_is_told_in_falcos_words(self, write: Write, interval: str) -> None:
        path = write(f"metrics:\n  enabled: true\n  interval: '{interval}'\n")
        assert problem(path).startswith(f"{path}:3:13: {METRICS}\n")
        assert "For example 30m, 1h30m or 500ms" in problem(path)
        assert load(path, ["metrics.enabled=false"]).metrics is None

    def test_with_no_way_out_they_are_refused(self, write: Write) -> None:
        path = write("metrics:\n  enabled: true\n  output_rule: false\n")
        assert problem(path) == (
            f"{path}:2:12: Metrics are enabled with no output configured. Please enable at least one output channel "
            "('metrics.output_rule', 'metrics.output_file' or 'webserver.prometheus_metrics_enabled')\n"
            "    enabled: true\n             ^"
        )
        served = ["webserver.prometheus_metrics_enabled=true"]
        assert "no output configured" in problem(path, *served)  # the server is off
        assert load(path, [*served, "webserver.enabled=true"]).metrics is not None
        assert load(path, ["metrics.output_file=/m"]).metrics is not None


class TestDrops:
    def test_what_is_done_about_them_is_read(self, write: Write) -> None:
        keys = "threshold: .3, actions: [alert, exit], rate: 2, max_burst: 5, simulate_drops: yes"
        read = load(write(f"syscall_event_drops: {{{keys}}}"))
        assert read.drops == Drops(0.3, ("alert", "exit"), 2.0, 5.0, simulate=True)
        assert load(write("{}")).drops == Drops() == Config().drops

    def test_to_ignore_them_excludes_what_comes_after(self, write: Write) -> None:
        with pytest.raises(ConfigError, match='action "log" does not make sense with the "ignore" action'):
            load(write("syscall_event_drops: {actions: [ignore, log]}"))
        assert load(write("syscall_event_drops: {actions: [alert, ignore]}")).drops.actions == ("alert", "ignore")


class TestRulesFiles:
    def test_the_old_name_is_understood_and_told(self, write: Write) -> None:
        path = write("rules_file: /a.yaml")
        read = load(path)
        assert read.rules_files == ("/a.yaml",)
        (warning,) = read.warnings
        assert warning == (
            f"{path}:1:13: Using deprecated config key 'rules_file' (singular form). Please use new 'rules_files' "
            "config key (plural form)."
        )

    def test_old_and_new_name_exclude_each_other(self, write: Write) -> None:
        assert "rules_file and rules_files cannot both be given" in problem(
            write("rules_file: /a.yaml\nrules_files: [/b.yaml]")
        )

    def test_the_name_that_only_the_schema_has_is_read_by_nobody(self, write: Write) -> None:
        path = write("rule_files: [/a.yaml]")
        read = load(path)
        assert read.rules_files == Config().rules_files
        (notice,) = read.notices
        assert notice == (
            f"{path}:1:1: rule_files: has no effect; Falco does not read it either; the key for rules files is "
            "rules_files"
        )


def test_the_log(write: Write) -> None:
    read = load(write("log_stderr: false\nlog_syslog: false\nlog_level: Error\nlog_format: JSON"))
    assert (read.log_stderr, read.log_syslog, read.log_level, read.log_json) == (False, False, 3, True)


def test_the_time_without_events_is_read(write: Write) -> None:
    assert load(write("syscall_event_timeouts: {max_consecutives: 5}")).max_quiet_s == 5
    assert "expected a whole number from 1 up" in problem(write("syscall_event_timeouts: {max_consecutives: 0}"))


def test_the_share_of_cpu_is_read(write: Write) -> None:
    assert load(write("engine: {falco_py: {cpu_limit_percent: 12.5}}")).cpu_limit_percent == 12.5
    assert Config().cpu_limit_percent == 0
    assert "expected a number from 0 up" in problem(write("engine: {falco_py: {cpu_limit_percent: -1}}"))


def test_how_long_facts_are_waited_for_is_read(write: Write) -> None:
    assert Config().facts_wait_ms == 2000
    assert load(write("engine: {falco_py: {facts_wait_ms: 0}}")).facts_wait_ms == 0
    assert "from 0 to 30000" in problem(write("engine: {falco_py: {facts_wait_ms: 30001}}"))
