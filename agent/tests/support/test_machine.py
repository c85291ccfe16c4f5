# SPDX-License-Identifier: Apache-2.0
"""The checks of kernel, capabilities and hooks, with both answers where the machine allows them."""

from __future__ import annotations

import errno
import os
import resource
from typing import TYPE_CHECKING, NoReturn

import pytest

from falco_py.kernel import host, load
from falco_py.support import hooks, machine
from falco_py.support.finding import Question
from tests.support.findings import asked

if TYPE_CHECKING:
    from pathlib import Path

CHECKS = {one.name: one.run for one in (*machine.CHECKS, *hooks.CHECKS)}


def test_the_kernels_version_is_held_against_the_floor(monkeypatch: pytest.MonkeyPatch) -> None:
    assert asked(CHECKS["kernel"])[0].startswith("ok ")
    monkeypatch.setattr(host, "kernel_version", lambda: (5, 7))
    question = Question(None)
    assert asked(CHECKS["kernel"], question)[0].endswith("is older than 5.8 -> boot a newer kernel")
    assert question.forbidden == ["kernel"]


def test_the_architecture_must_have_an_object(monkeypatch: pytest.MonkeyPatch) -> None:
    assert asked(CHECKS["architecture"])[0].startswith("ok ")
    monkeypatch.setattr("platform.machine", lambda: "riscv64")
    assert asked(CHECKS["architecture"]) == ["FAIL riscv64 has no BPF object -> use one of x86_64, aarch64"]


def test_the_kernels_types_must_be_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert asked(CHECKS["kernel types"])[0].startswith("ok ")
    monkeypatch.setattr(host, "BTF", tmp_path / "vmlinux")
    assert asked(CHECKS["kernel types"])[0].startswith(f"FAIL {tmp_path}/vmlinux is missing or not readable -> boot")


@pytest.mark.parametrize(
    ("bits", "fact"),
    [
        (1 << 21, "with CAP_SYS_ADMIN: programs may be loaded"),
        (1 << 38 | 1 << 39, "with CAP_BPF, CAP_PERFMON: programs may be loaded"),
        (1 << 39, "without CAP_PERFMON"),
        (0, "without CAP_BPF and CAP_PERFMON"),
    ],
)
def test_what_loading_needs_is_told_from_capabilities(monkeypatch: pytest.MonkeyPatch, bits: int, fact: str) -> None:
    monkeypatch.setattr(machine, "capability_sets", lambda _status: (bits, (1 << 41) - 1))
    assert fact in asked(CHECKS["capabilities"])[0]


def test_capability_sets_are_read_from_the_status() -> None:
    status = "CapInh:\t0000000000000000\nCapEff:\t0000000000200000\nCapBnd:\t000001ffffffffff\n"
    assert machine.capability_sets(status) == (1 << 21, (1 << 41) - 1)


@pytest.mark.live
def test_bpf_is_tried_and_a_refusal_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    before = sorted(os.listdir("/proc/self/fd"))
    assert asked(CHECKS["bpf(2)"])[0].startswith("ok works; lockdown ")
    assert sorted(os.listdir("/proc/self/fd")) == before

    def refused() -> NoReturn:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(machine, "_make_map", refused)
    question = Question(None)
    told = asked(CHECKS["bpf(2)"], question)[0]
    assert told.startswith("FAIL refused: Operation not permitted; lockdown ")
    assert "allow bpf(2) in the profile" in told
    assert question.forbidden == ["bpf(2)"]


@pytest.mark.live
def test_lockdown_that_forbids_reading_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    read = machine._word
    monkeypatch.setattr(machine, "_word", lambda path: "confidentiality" if "lockdown" in path else read(path))
    assert asked(CHECKS["bpf(2)"])[0].startswith("FAIL programs may not read kernel memory; lockdown confidentiality")


@pytest.mark.parametrize(
    ("setting", "told"), [("0", "warn off: programs are interpreted"), ("1", "ok on"), ("", "ok not visible here")]
)
def test_the_jit_compiler(monkeypatch: pytest.MonkeyPatch, setting: str, told: str) -> None:
    monkeypatch.setattr(machine, "_word", lambda _path: setting)
    assert asked(CHECKS["BPF JIT"])[0].startswith(told)


def test_locked_memory_matters_on_old_kernels_only(monkeypatch: pytest.MonkeyPatch) -> None:
    assert asked(CHECKS["locked memory"]) == []
    monkeypatch.setattr(host, "kernel_version", lambda: (5, 10))
    monkeypatch.setattr(machine, "capability_sets", lambda _status: (0, 0))
    monkeypatch.setattr(resource, "getrlimit", lambda _which: (65536, 65536))
    assert asked(CHECKS["locked memory"])[0].startswith(
        "warn RLIMIT_MEMLOCK is 64 KiB (at most 64 KiB) -> LimitMEMLOCK"
    )
    monkeypatch.setattr(resource, "getrlimit", lambda _which: (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert asked(CHECKS["locked memory"])[0].startswith("ok ")


@pytest.mark.live
def test_programs_are_loaded_tried_and_given_back() -> None:
    before = sorted(os.listdir("/proc/self/fd"))
    loaded, told = asked(CHECKS["hooks"])
    assert loaded.startswith("ok 4 programs loaded in ")
    assert told.startswith("ok a program's start was told after ")
    assert sorted(os.listdir("/proc/self/fd")) == before


@pytest.mark.live
def test_hooks_that_tell_nothing_are_no_success(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load.Capture, "attach", lambda _self: None)
    monkeypatch.setattr(hooks, "DEADLINE_S", 0.2)
    told = asked(CHECKS["hooks"])[1]
    assert told.startswith("FAIL a program's start and getppid(2) was not told within 0.2 s, although the hooks are")


def test_a_refused_load_is_told_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(_self: object) -> NoReturn:
        raise host.HostError("the kernel refused the BPF object", "check `dmesg`")

    monkeypatch.setattr(load.Capture, "__init__", refused)
    assert asked(CHECKS["hooks"]) == ["FAIL the kernel refused the BPF object -> check `dmesg`"]


def test_hooks_are_not_tried_where_they_cannot_be() -> None:
    question = Question(None, forbidden=["kernel", "kernel types"])
    assert asked(CHECKS["hooks"], question) == ["FAIL not tried, because of: kernel, kernel types -> see above"]


def test_other_hooks_are_facts_only() -> None:
    (told,) = asked(CHECKS["other hooks"])
    assert told.startswith("ok none is needed; ")
    for name in ("kprobes", "fentry (ftrace)", "BPF LSM"):
        assert told.count(name) == 1
