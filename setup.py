# SPDX-License-Identifier: Apache-2.0
"""The one part that pyproject.toml cannot say yet: the native ring reader."""

from pathlib import Path

from setuptools import Extension, setup

RING = "agent/falco_py/kernel/_ring.c"

setup(
    ext_modules=[Extension("falco_py.kernel._ring", [RING], extra_compile_args=["-O2", "-Wall", "-Wextra"])]
    if Path(RING).exists()
    else []
)
