# SPDX-License-Identifier: Apache-2.0
"""falco.yaml and `-o` overrides become one frozen `Config`.

`tree` reads YAML with places, `keys` says what each key means, `model` is what the agent reads, `load` joins them.
"""

from .load import DEFAULT_FILE, load
from .model import (
    PRIORITIES,
    AppendOutput,
    Config,
    Drops,
    FileOutput,
    Folding,
    HttpOutput,
    Kubernetes,
    Match,
    Metrics,
    Outputs,
    ProgramOutput,
    WebServer,
)
from .problem import ConfigError, Place, Problem

__all__ = [
    "DEFAULT_FILE",
    "PRIORITIES",
    "AppendOutput",
    "Config",
    "ConfigError",
    "Drops",
    "FileOutput",
    "Folding",
    "HttpOutput",
    "Kubernetes",
    "Match",
    "Metrics",
    "Outputs",
    "Place",
    "Problem",
    "ProgramOutput",
    "WebServer",
    "load",
]
