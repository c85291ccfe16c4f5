# SPDX-License-Identifier: Apache-2.0
"""The BPF objects build for both machines from one source, without a kernel."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
EM_BPF = 247  # elf.h


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_the_object_builds(machine: str, tmp_path: Path) -> None:
    subprocess.run(["make", "-s", "-C", str(ROOT / "bpf"), f"ARCH={machine}", f"OUT={tmp_path}"], check=True)
    image = (tmp_path / f"base.{machine}.bpf.o").read_bytes()
    assert image[:4] == b"\x7fELF"
    assert int.from_bytes(image[18:20], "little") == EM_BPF
    assert b"tp_btf/sys_exit" in image
    assert b".BTF.ext" in image


def test_an_unknown_machine_is_refused(tmp_path: Path) -> None:
    done = subprocess.run(
        ["make", "-s", "-C", str(ROOT / "bpf"), "ARCH=sparc", f"OUT={tmp_path}"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert "x86_64 and aarch64 are known" in done.stderr
