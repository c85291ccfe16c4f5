# SPDX-License-Identifier: Apache-2.0
"""The parts that pyproject.toml cannot say yet: the native readers of rings and records, and the files of the host
service, which the wheel carries to `share/falco-py`."""

import os

from setuptools import Extension, setup

SERVICE = [
    "packaging/completion/falco-py.bash",
    "packaging/falco-py.8",
    "packaging/falco.service",
    "packaging/falco.yaml",
    "packaging/falco_rules.local.yaml",
    "packaging/logrotate",
    "rules/falco_rules.yaml",
]

setup(
    ext_modules=[
        Extension(name, [f"agent/{name.replace('.', '/')}.c"], extra_compile_args=["-O2", "-Wall", "-Wextra"])
        for name in ("falco_py.kernel._ring", "falco_py.events._items")
    ],
    data_files=[("share/falco-py", [path for path in SERVICE if os.path.exists(path)])],
)
