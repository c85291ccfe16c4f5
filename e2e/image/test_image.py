# SPDX-License-Identifier: Apache-2.0
"""What is in the image, and what it does with a read-only root and four capabilities."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from e2e.host.container import until
from e2e.image.runtime import BASE, COMMAND_S, CONFINED, LINE_S, ROOT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from e2e.image.runtime import Agent, Runtime

    Start = Callable[..., Agent]

SENSITIVE = "Sensitive file opened for reading by non-trusted program"
MOST_BYTES = 150_000_000
SITE = "/usr/lib/falco-py/lib"


def read_shadow(mark: str) -> None:
    """`cat` of the host opens the password hashes; the second file is not there."""
    subprocess.run(["cat", "/etc/shadow", f"/{mark}"], capture_output=True, timeout=COMMAND_S, check=False)


def rule(name: str, mark: str) -> str:
    """A rule that fires on `true MARK`, about which the default rules say nothing."""
    return (
        f"- rule: {name}\n  desc: A program of the tests.\n"
        f"  condition: evt.type in (execve, execveat) and proc.name = true and proc.args contains {mark}\n"
        f'  output: "{name} fired | command=%proc.cmdline"\n  priority: NOTICE\n'
    )


def run_true(mark: str) -> None:
    subprocess.run(["/bin/true", mark], timeout=COMMAND_S, check=True)


def find(runtime: Runtime, *test: str) -> set[str]:
    """Paths of the image's own file system."""
    return set(runtime.run("/", "-xdev", *test, entrypoint="find", options=()).split("\n")) - {""}


# What is in it


def test_it_adds_little_to_its_base(runtime: Runtime) -> None:
    assert runtime.inspect(runtime.name)["Size"] - runtime.inspect(BASE)["Size"] <= MOST_BYTES


def test_it_says_what_it_is_and_how_it_ends(runtime: Runtime) -> None:
    config = runtime.inspect(runtime.name)["Config"]
    labels = {name.removeprefix("org.opencontainers.image."): text for name, text in config["Labels"].items()}
    revision = subprocess.run(
        ["git", "-C", str(ROOT), "rev-parse", "HEAD"], capture_output=True, text=True, check=True, timeout=COMMAND_S
    ).stdout.strip()
    assert labels["title"] == "falco-py"
    assert labels["licenses"] == "Apache-2.0"
    assert labels["base.name"] == BASE
    assert labels["version"] == runtime.name.rpartition(":")[2]
    assert labels["revision"] == revision
    assert config["Entrypoint"] == ["/usr/bin/falco-py"]
    assert config["StopSignal"] == "SIGTERM"
    assert not config.get("Cmd")


def test_nobody_but_root_may_write_to_it(runtime: Runtime) -> None:
    assert find(runtime, "-perm", "-0002", "!", "-type", "l") <= {"/tmp", "/var/tmp", "/run/lock"}
    assert not find(runtime, "-perm", "-0002", "!", "-perm", "-1000", "!", "-type", "l")
    own = ("/usr/lib/falco-py*", "/usr/bin/falco*", "/etc/falco*", "/var/lib/falco*", "/run/falco-py*")
    for path in own:
        assert find(runtime, "-path", path)
        assert not find(runtime, "-path", path, "(", "!", "-user", "root", "-o", "!", "-group", "root", "-o", "-perm",
                        "-0020", ")", "!", "-type", "l")  # fmt: skip


def test_no_program_gives_rights_to_who_starts_it(runtime: Runtime) -> None:
    assert not find(runtime, "-type", "f", "-perm", "/6000")


def test_it_has_no_compiler_and_nothing_that_is_not_imported(runtime: Runtime) -> None:
    for name in ("gcc*", "clang*", "cc", "ld", "as", "make"):
        assert not find(runtime, "-name", name, "-path", "*bin/*"), name
    for name in ("pip", "setuptools", "libLLVM*", "*.h", "*.pyx", "tests", "*.tmp", "pydantic*", "dateutil"):
        assert not find(runtime, "-name", name, "-path", f"{SITE}/*"), name
    assert not find(runtime, "-path", f"{SITE}/*/llvmlite/binding")
    of_kubernetes = {Path(path).stem for path in find(runtime, "-path", f"{SITE}/*/site-packages/kubernetes/*.py")}
    assert {"incluster_config", "kube_config"} <= of_kubernetes
    assert len(of_kubernetes) < 10


def test_all_its_bytecode_is_there(runtime: Runtime) -> None:
    sources = find(runtime, "-path", f"{SITE}/*.py")
    compiled = {
        re.sub(r"__pycache__/(.+)\.cpython-\d+\.pyc$", r"\1.py", path)
        for path in find(runtime, "-path", f"{SITE}/*.pyc")
    }
    assert sources
    assert sources == compiled


def test_it_has_nothing_of_the_machine_that_built_it(runtime: Runtime) -> None:
    assert not find(runtime, "-path", "/etc/pip.conf", "-o", "-path", "/run/secrets*", "-o", "-path", "/root/.config*",
                    "-o", "-path", "/src*", "-o", "-path", "/venv*")  # fmt: skip
    environment = runtime.inspect(runtime.name)["Config"]["Env"]
    assert [one.partition("=")[0] for one in environment] == ["PATH"]


# What it does


def test_it_tells_its_version(runtime: Runtime) -> None:
    assert f"Falco-py version: {runtime.name.rpartition(':')[2]}" in runtime.run("--version")


def test_doctor_finds_nothing_wrong(runtime: Runtime) -> None:
    said = runtime.run("doctor")
    assert re.search(r"^\d+ fine.*", said, re.MULTILINE), said
    assert "FAIL" not in said


def test_its_settings_and_rules_load_without_a_warning(runtime: Runtime) -> None:
    checks = json.loads(runtime.run("doctor", "--json"))["checks"]
    marks = {one["check"]: one["mark"] for one in checks if one["check"] in ("configuration", "rules", "rights")}
    assert marks == {"configuration": "ok", "rules": "ok", "rights": "ok"}


def test_an_alert_about_the_host_is_in_its_log(start: Start, mark: str) -> None:
    agent = start()
    line = agent.expect(SENSITIVE, mark, act=lambda: read_shadow(mark))
    assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}\+0000: Warning ", line)
    assert f"command=cat /etc/shadow /{mark}" in line
    assert "user=root" in line
    assert "container_id=host" in line


def test_probes_are_answered(start: Start, runtime: Runtime) -> None:
    start().expect("Starting health webserver")
    code = "import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1], timeout=5).status)"
    url = "http://127.0.0.1:8765/healthz"
    assert runtime.inside(sys.executable, "-c", code, url).strip() == "200"


def test_sigterm_ends_it_with_0(start: Start) -> None:
    agent = start()
    assert agent.stop() == 0
    assert agent.lines("Events detected")


def test_sigterm_ends_it_with_0_as_process_1(start: Start) -> None:
    agent = start(options=["--volume=/proc:/host/proc:ro"], host_pids=False)
    assert agent.stop() == 0


def test_rules_mounted_into_rules_d_are_used(start: Start, tmp_path: Path, mark: str) -> None:
    (tmp_path / "own.yaml").write_text(rule("Rule of the user", mark))
    agent = start(options=[f"--volume={tmp_path}:/etc/falco/rules.d:ro"])
    agent.expect("Rule of the user fired", mark, act=lambda: run_true(mark))


def test_falcos_mounts_and_arguments_serve(start: Start, mark: str) -> None:
    mounts = ["/proc:/host/proc:ro", "/etc:/host/etc:ro"]
    agent = start("/usr/bin/falco", "-o", "json_output=true", options=[f"--volume={one}" for one in mounts],
                  host_pids=False)  # fmt: skip
    alert = json.loads(agent.expect(SENSITIVE, mark, act=lambda: read_shadow(mark)))
    # Of a process that the agent never saw start, and knows from the host's /proc only.
    assert alert["output_fields"]["proc.pname"] == Path("/proc/self/comm").read_text().strip()


def test_a_config_map_over_etc_falco_serves_and_is_read_again(start: Start, tmp_path: Path, mark: str) -> None:
    settings = "rules_files: [/etc/falco/rules.yaml]\nstdout_output: {enabled: true}\nsyslog_output: {enabled: false}\n"
    volume = ConfigMap(tmp_path / "map")
    volume.write({"falco.yaml": settings, "rules.yaml": rule("First rule", mark)})
    agent = start(options=[f"--volume={volume.path}:/etc/falco:ro"])
    agent.expect("First rule fired", act=lambda: run_true(mark))
    volume.write({"falco.yaml": settings, "rules.yaml": rule("Second rule", mark)})
    agent.expect("Second rule fired", act=lambda: run_true(mark))


def test_a_wrong_config_map_is_told_and_ends_it_with_1(runtime: Runtime, tmp_path: Path, mark: str) -> None:
    (tmp_path / "falco.yaml").write_text("rules_files: [/etc/falco/rules.yaml]\n")
    (tmp_path / "rules.yaml").write_text(rule("Broken", mark).replace("proc.name", "proc.nmae"))
    with pytest.raises(RuntimeError, match=r"(?s): 1\n.*did you mean 'proc.name'"):
        runtime.run(options=[*CONFINED, f"--volume={tmp_path}:/etc/falco:ro"])


def test_alerts_wait_for_their_receiver_in_a_volume(start: Start, tmp_path: Path, mark: str) -> None:
    agent = start("-o", "http_output.enabled=true", "-o", "http_output.url=http://127.0.0.1:9/",
                  options=[f"--volume={tmp_path}:/var/lib/falco"])  # fmt: skip
    agent.expect(SENSITIVE, mark, act=lambda: read_shadow(mark))
    until(lambda: any(mark.encode() in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()), LINE_S,
          lambda: f"no alert in {list(tmp_path.rglob('*'))}")  # fmt: skip
    assert agent.stop() == 0


def test_a_running_agent_is_asked_over_its_socket(start: Start) -> None:
    agent = start(options=["--tmpfs=/run/falco-py"])
    assert "Read sensitive file untrusted" in agent.run("falco-py", "explain", "--cost")


def test_the_archive_is_one_that_docker_loads(runtime: Runtime) -> None:
    with tarfile.open(runtime.archive) as archive:
        listed = archive.extractfile("manifest.json")
        assert listed is not None
        (manifest,) = json.load(listed)
        assert manifest["RepoTags"] == [runtime.name]
        assert set(manifest["Layers"]) <= set(archive.getnames())


def test_containerd_takes_the_archive(containerd: Path, runtime: Runtime) -> None:
    ctr = ["ctr", f"--address={containerd}", "--namespace=k8s.io", "images"]
    runtime.inside(*ctr, "import", str(runtime.archive), timeout_s=4 * COMMAND_S)
    assert runtime.name in runtime.inside(*ctr, "list", "--quiet").split()


class ConfigMap:
    """A directory as the kubelet mounts a ConfigMap: names are links through `..data`, which is swapped."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._writes = 0
        path.mkdir()

    def write(self, files: dict[str, str]) -> None:
        self._writes += 1
        version = self.path / f"..version_{self._writes}"
        version.mkdir()
        for name, text in files.items():
            (version / name).write_text(text, encoding="utf-8")
            if not (self.path / name).is_symlink():
                (self.path / name).symlink_to(f"..data/{name}")
        (self.path / "..data_tmp").symlink_to(version.name)
        os.rename(self.path / "..data_tmp", self.path / "..data")


@pytest.fixture
def containerd(runtime: Runtime) -> Iterator[Path]:
    """The socket of a containerd of its own; the tests of the cluster install the package."""
    assert shutil.which("containerd"), "containerd is missing: sh scripts/setup.sh packages containerd"
    home = runtime.scratch / "containerd"
    home.mkdir()
    (home / "config.toml").write_text(
        f'version = 2\nroot = "{home}/root"\nstate = "{home}/state"\ndisabled_plugins = ["io.containerd.grpc.v1.cri"]\n'
        f'[grpc]\naddress = "{home}/socket"\n'
    )
    started = subprocess.Popen(
        ["unshare", "--net", "--mount", "--propagation=private", "containerd", "--config", str(home / "config.toml")],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        until((home / "socket").exists, LINE_S, lambda: "containerd does not start")
        yield home / "socket"
    finally:
        with contextlib.suppress(ProcessLookupError):
            started.terminate()
        started.wait(COMMAND_S)
