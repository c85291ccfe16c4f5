# SPDX-License-Identifier: Apache-2.0
"""What Prometheus is told, read by its own parsers."""

from __future__ import annotations

import re
import subprocess
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from prometheus_client.parser import text_string_to_metric_families

from falco_py.config.model import Metrics
from falco_py.kernel.bpf import ProgramRuns
from falco_py.metrics.prometheus import CONTENT_TYPE, Exposition
from falco_py.metrics.reading import File, Rule
from falco_py.metrics.table import LINK, METRICS, OURS
from pages import metrics
from tests.metrics.made import ALL, reading
from tests.metrics.scraping import program

if TYPE_CHECKING:
    from pathlib import Path

_LINT = 3  # promtool's exit code for names that it would have chosen otherwise
_OFF = Metrics(
    rules_counters_enabled=False, resource_utilization_enabled=False, state_counters_enabled=False,
    kernel_event_counters_enabled=False, libbpf_stats_enabled=False, plugins_metrics_enabled=False,
)  # fmt: skip


def text(settings: Metrics = ALL, **changes: object) -> str:
    return Exposition(settings).text(reading(**changes))[0].decode()


def samples(told: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """By name and labels; each stands there once."""
    found: dict[tuple[str, tuple[tuple[str, str], ...]], float] = {}
    for family in text_string_to_metric_families(told):
        for sample in family.samples:
            key = sample.name, tuple(sorted(sample.labels.items()))
            assert key not in found
            found[key] = sample.value
    return found


def value(told: str, name: str, **labels: str) -> float:
    return samples(told)[name, tuple(sorted(labels.items()))]


def test_the_content_type_is_that_of_the_text_format() -> None:
    assert Exposition(ALL).text(reading())[1] == CONTENT_TYPE == "text/plain; version=0.0.4"


def test_a_rule_has_falcos_labels_and_its_alerts() -> None:
    told = text()
    labels = {
        "priority": "4",
        "rule_name": "Read sensitive file (untrusted)",
        "source": "syscall",
        "tag_T1555": "true",
        "tag_PCI_DSS_10_2": "true",
        "tag_host": "true",
    }
    assert value(told, "falcosecurity_falco_rules_matches_total", **labels) == 5
    assert value(told, f"{OURS}rule_delivered_total", rule_name=labels["rule_name"]) == 40
    assert value(told, f"{OURS}rule_test_seconds_total", rule_name=labels["rule_name"]) == 0.0025


def test_rules_without_alerts_are_told_only_when_empty_values_are_wanted() -> None:
    assert "Never fires" not in text()
    assert 'rule_name="Never fires"' in text(replace(ALL, include_empty_values=True))


def test_losses_are_told_by_class_and_as_a_whole() -> None:
    told = text()
    assert value(told, "falcosecurity_scap_n_evts_total") == 810
    assert value(told, "falcosecurity_scap_n_drops_total") == 10
    assert value(told, "falcosecurity_scap_n_drops_buffer_total", dir="exit", drop="open") == 7
    assert value(told, "falcosecurity_scap_n_drops_buffer_total", dir="enter", drop="open") == 0
    assert value(told, "falcosecurity_scap_n_drops_scratch_map_total") == 2
    assert value(told, f"{OURS}kernel_dropped_total", **{"class": "open"}) == 7
    assert value(told, f"{OURS}kernel_shed_total", **{"class": "connect"}) == 3
    assert [value(told, "falcosecurity_scap_n_drops_cpu_total", cpu=cpu) for cpu in "01"] == [10, 3]


def test_programs_have_the_names_of_falcos_on_the_same_hooks() -> None:
    told = text()
    assert value(told, "falcosecurity_scap_sys_exit_avg_time_ns") == 500
    assert value(told, "falcosecurity_scap_sched_p_exec_run_cnt_total") == 2
    assert value(told, f"{OURS}program_run_seconds_total", program="falco_sys_exit") == 5e-06


def test_programs_whose_runs_the_kernel_does_not_count_are_not_told() -> None:
    told = text(programs=[ProgramRuns("falco_sys_exit", 0, 0)])
    assert "run_cnt" not in told
    assert f"{OURS}program" not in told


def test_outputs_are_told_one_by_one_and_what_they_lost_as_a_whole() -> None:
    told = text()
    assert value(told, "falcosecurity_falco_outputs_queue_num_drops_total") == 2
    assert value(told, f"{OURS}output_failing", output="http") == 1
    assert value(told, f"{OURS}output_waiting", output="stdout") == 0
    assert value(told, f"{OURS}spool_bytes") == 34567


def test_parts_that_an_agent_does_not_have_are_not_told() -> None:
    told = text(
        spool=None, kernel=None, by_cpu=(), containers=None, resources=None, processes=None, learning=None, web=None,
        container_facts=None,
        held=None,
    )  # fmt: skip
    for part in ("spool", "scap_n_", "container", "cpu_usage", "processes", "learn", "web_"):
        assert part not in told, part


def test_switches_turn_their_metrics_off() -> None:
    told = {name for name, _ in samples(text(_OFF))}
    assert told == {
        name for row in METRICS if row.name and not row.switch for name, _, _ in row.exposed(ALL, reading())
    }


def test_every_metric_of_falco_leads_to_its_page_and_the_old_ones_say_so() -> None:
    helps = {line.split()[2]: line for line in text().splitlines() if line.startswith("# HELP")}
    assert all((LINK in line) == (OURS not in line) for line in helps.values())
    assert LINK in helps["falcosecurity_scap_n_drops_buffer_total"]
    assert "Deprecated" in helps["falcosecurity_scap_n_drops_buffer_total"].partition(LINK)[2]


def test_no_name_that_people_choose_breaks_the_text() -> None:
    names = ['quote " and \\', "line\nbreak", "a.b", "a_b", "bad \udcff byte", "ключ"]
    rules = [Rule(name, 4, tags=(name,), matches=n + 1) for n, name in enumerate(names)]
    files = [File("/a/x.yaml", "1"), File("/b/x.yaml", "2"), File("/c/x.yaml", "1")]
    told = samples(text(rules=rules, rules_files=files))
    matches = {
        dict(labels)["rule_name"]: n for (name, labels), n in told.items() if name.endswith("rules_matches_total")
    }
    assert sorted(matches.values()) == [1, 2, 3, 4, 5, 6]
    assert matches["line\nbreak"] == 2
    assert matches["bad ? byte"] == 5
    assert [n for (name, _), n in told.items() if "rules_files" in name] == [1, 1]


def test_promtool_finds_nothing_wrong_with_our_names() -> None:
    done = subprocess.run(
        [program("promtool"), "check", "metrics"], input=text(), capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode in (0, _LINT), done.stderr
    remarks = done.stderr.splitlines()
    assert [line for line in remarks if not line.startswith("falcosecurity_") or OURS in line] == []


@pytest.mark.parametrize(
    ("name", "check"),
    [("prometheus.yml", ["check", "config", "--syntax-only"]), ("falco.rules.yml", ["check", "rules"])],
)
def test_promtool_accepts_the_examples_of_the_page(tmp_path: Path, name: str, check: list[str]) -> None:
    path = tmp_path / name
    path.write_text(example(name))
    done = subprocess.run(
        [program("promtool"), *check, str(path)], capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def example(name: str) -> str:
    """A block of the page that begins with its name."""
    found = re.search(rf"```yaml\n# {re.escape(name)}\n(.*?)```", metrics.page(), re.DOTALL)
    assert found is not None
    return found[1]


def test_examples_name_metrics_that_there_are() -> None:
    named = set(re.findall(r"falcosecurity_[a-z_0-9]+", example("falco.rules.yml")))
    assert len(named) > 5
    assert named <= {name for name, _ in samples(text())}


def test_a_scrape_of_a_hundred_rules_takes_some_milliseconds() -> None:
    made = reading(rules=[Rule(f"Rule {n}", 4, tags=("a", "b", "c", "d"), matches=n + 1, delivered=9, test_ns=9)
                          for n in range(100)])  # fmt: skip
    exposition = Exposition(ALL)
    took = []
    for _ in range(5):
        start = time.perf_counter()
        exposition.text(made)
        took.append(time.perf_counter() - start)
    assert min(took) < 0.1
