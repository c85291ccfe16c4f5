# SPDX-License-Identifier: Apache-2.0
"""The table of metrics becomes docs/metrics.md: how to get them, and every metric with its names, labels and switch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from falco_py.metrics.host import CGROUP_VARIABLE, MAX_INTERFACES
from falco_py.metrics.snapshot import DERIVED
from falco_py.metrics.table import FALCOS, OWN, Kind, Switch, Unit
from falco_py.web.server import CACHE_S, FIRST_REQUEST_S, IDLE_S, MAX_CONNECTIONS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from falco_py.metrics.table import Metric

_TEMPLATE = f"""\
# Metrics

Made by `make docs`. The agent counts what it sees, loses, tests and delivers. Names and labels are Falco's, so that
dashboards and alerts made for Falco go on working; what Falco does not have begins with `falcosecurity_falco_py_`.

```yaml
# falco.yaml
metrics:
  enabled: true
  interval: 15m                    # of the alert and the file
  output_rule: true                # an alert: Falco internal: metrics snapshot
  output_file: /var/log/falco/metrics.jsonl
webserver:
  enabled: true
  prometheus_metrics_enabled: true # /metrics
```

## The web server

| path | answers |
| --- | --- |
| `/healthz` (`webserver.k8s_healthz_endpoint`) | `{{"status": "ok"}}`; see below |
| `/versions` | versions of the agent and of what it understands, and which rules it runs, as JSON |
| `/metrics` | all figures, when `metrics.enabled` and `webserver.prometheus_metrics_enabled` are both true |

`/healthz` says how the agent is. `ok`: all is well. `degraded`, with status 200 and the reasons: it watches, but an
output fails, the last edit of the rules was refused, or a broken rules file was left out at the start; restarting the
agent would not help, so a liveness probe is content. `unhealthy`, with status 503: events are not read, or there are no
rules.

With `webserver.bearer_token` both `/metrics` and `/versions` want `Authorization: Bearer TOKEN`; `/healthz` never does,
so do not put the port where everybody can reach it. With `webserver.ssl_enabled` all is HTTPS (TLS 1.2 or newer), and
`webserver.ssl_certificate` is one PEM file with the key and the certificate. If the port is taken when the agent
starts, the agent goes on without the web server and tries again every few seconds.

- At most {MAX_CONNECTIONS} clients are connected; when more come, those that have asked nothing yet are closed first.
- A client has {FIRST_REQUEST_S:.0f} s for its first request and {IDLE_S:.0f} s for each further one.
- Metrics are made at most every {CACHE_S:.0f} s.

## Scraping

```yaml
# prometheus.yml
scrape_configs:
  - job_name: falco
    scrape_interval: 30s
    scheme: https                                          # with webserver.ssl_enabled
    tls_config:
      ca_file: /etc/prometheus/falco-ca.pem
    authorization:
      credentials_file: /etc/prometheus/falco-token        # with webserver.bearer_token
    static_configs:
      - targets: ["node-1:8765", "node-2:8765"]
```

## Alerts worth having

A rule's counter comes into being with its first alert, which `rate` and `increase` do not see; that is why the last
example compares with the hour before.

```yaml
# falco.rules.yml
groups:
  - name: falco
    rules:
      - alert: FalcoIsAway
        expr: up{{job="falco"}} == 0
        for: 2m
      - alert: FalcoLosesEvents
        expr: rate(falcosecurity_scap_n_drops_total[5m]) / rate(falcosecurity_scap_n_evts_total[5m]) > 0.01
        for: 5m
        annotations:
          summary: "Events go untested; falcosecurity_falco_py_kernel_dropped_total says of which kind"
      - alert: FalcoAsksOnlySevereRules
        expr: min_over_time(falcosecurity_falco_py_shedding_level[5m]) > 0
      - alert: FalcoLosesAlerts
        expr: increase(falcosecurity_falco_outputs_queue_num_drops_total[10m]) > 0
      - alert: FalcoOutputFails
        expr: falcosecurity_falco_py_output_failing == 1
        for: 5m
      - alert: FalcoSpoolGrows
        expr: falcosecurity_falco_py_spool_waiting > 1000
        for: 15m
      - alert: FalcoReloadRefused
        expr: falcosecurity_falco_py_reload_refused == 1
      - alert: FalcoRulesDiffer
        expr: count(count by (digest) (falcosecurity_falco_py_rules_digest_info)) > 1
        for: 1h
      - alert: FalcoCriticalRule
        expr: |
          falcosecurity_falco_rules_matches_total{{priority=~"[012]"}}
            unless falcosecurity_falco_rules_matches_total offset 1h
          or increase(falcosecurity_falco_rules_matches_total{{priority=~"[012]"}}[1h]) > 0
```

What a rule costs is `rate(falcosecurity_falco_py_rule_test_seconds_total[5m])`: cores that are busy with it. Runs and
times of kernel programs are counted only while `sysctl kernel.bpf_stats_enabled` is 1, which slows each call a little.

## The snapshot

Every `metrics.interval` the figures become the alert `Falco internal: metrics snapshot` (Informational), a line of
`metrics.output_file`, or both. The file has a JSON object on each line, `{{"output_fields":{{...}},"sample":N}}`. It is
made for its owner and group (0640), and may be moved or deleted at any time: the next line makes it anew.

Keys are those of the column *snapshot*. What is 0 is left out, but for the most basic ones, unless
`metrics.include_empty_values` is true. In keys all that is no letter or digit becomes `_`: the rule `Run shell
untrusted` is `falco.rules.Run_shell_untrusted`. With `metrics.convert_memory_to_mb` sizes of memory are in MB with one
decimal and their keys end in `_mb`, otherwise in `_kb` or `_bytes`.
"""

_MISSING = f"""\
## What Falco has and this agent does not

| metrics | why not |
| --- | --- |
| `n_fds`, `n_added_fds`, `n_removed_fds`, `n_..._fd_lookups` | there is no table of fds: the kernel tells with each \
event what an fd is |
| `n_cached_thread_lookups` | every event finds its process; to count it would slow each |
| `n_stored_evts`, `n_store_evts_drops`, `n_retrieved_evts`, `n_retrieve_evts_drops` | events are not stored: they are \
told when a call returns |
| `n_evts_task...`, `n_drops_task...`, `n_drops_max_event_size` | no BPF iterators are used |
| `falco_jemalloc_...` | Python's allocator has no such figures |
| metrics of other plugins | there are none |

`n_drops_page_faults`, `n_drops_bug` and `n_preemptions` are told and always 0. A *thread* of the process table is a
process here. `falco.host_netinfo` has at most {MAX_INTERFACES} interfaces. `falco.container_memory_used` is read from
the file that the environment variable `{CGROUP_VARIABLE}` names, else from the agent's control group.
"""
_SUFFIX = {Unit.PLAIN: "", Unit.KIB: "_mb", Unit.BYTES: "_mb", Unit.RATIO: "_perc"}


def page() -> str:
    parts = [_TEMPLATE, "## Falco's metrics\n", _table(FALCOS), "## Metrics of this agent\n", _table(OWN)]
    parts += ["## Only in the snapshot\n", _derived(), _MISSING]
    return "\n".join(parts)


def _table(rows: Iterable[Metric]) -> str:
    lines = ["| metric | labels | type | snapshot | switch | meaning |", "| --- | --- | --- | --- | --- | --- |"]
    for row in rows:
        if row.name:
            cells = (f"`{row.name}`", _words(row.labels), _type(row), _key(row), _switch(row.switch), _meaning(row))
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _derived() -> str:
    lines = ["| snapshot | switch | meaning |", "| --- | --- | --- |"]
    lines += [f"| `{row.key}` | {_switch(row.switch)} | {_meaning(row)} |" for row in FALCOS if not row.name]
    lines += [f"| `{key}` | {_switch(switch)} | {about} |" for key, switch, about in DERIVED]
    return "\n".join(lines) + "\n"


def _words(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _type(row: Metric) -> str:
    return "gauge, always 1" if row.kind is Kind.INFO else str(row.kind)


def _key(row: Metric) -> str:
    return f"`{row.key}{_SUFFIX[row.unit]}`" if row.key else ""


def _switch(switch: Switch) -> str:
    return f"`{switch}`" if switch else "always"


def _meaning(row: Metric) -> str:
    return f"{row.about} {row.note}".rstrip().replace("|", "\\|")
