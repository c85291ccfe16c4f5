# SPDX-License-Identifier: Apache-2.0
"""The parts that pyproject.toml cannot say yet: the native readers of rings and records."""

from setuptools import Extension, setup

setup(
    ext_modules=[
        Extension(name, [f"agent/{name.replace('.', '/')}.c"], extra_compile_args=["-O2", "-Wall", "-Wextra"])
        for name in ("falco_py.kernel._ring", "falco_py.events._items")
    ]
)
