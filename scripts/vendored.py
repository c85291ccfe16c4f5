# SPDX-License-Identifier: Apache-2.0
"""The Python packages that the agent needs become a directory that goes with it to machines without an index.

`packaging/python3.X.txt` names each wheel by version and hash; nothing else is taken. Invariant: what is left out is
never imported by the agent (`tree.py` imports everything from what is left), and every licence stays.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tempfile
import tomllib
from email.parser import BytesHeaderParser
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pip

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

ROOT = Path(__file__).resolve().parents[1]
LIMIT_S = 600
_PIP = Path(pip.__file__).parent

# What is for whoever compiles or tests the packages.
_UNUSED_SUFFIXES = frozenset([".c", ".cc", ".h", ".pxd", ".pyi", ".pyx", ".hash"])
_UNUSED_NAMES = frozenset(["__pycache__", "bin", "py.typed", "test", "tests", ".hash"])
# llvmlite: pylibbpf imports the pure Python of llvmlite.ir; the 173 MB below `binding` are LLVM itself.
_UNUSED_PATHS = (
    "llvmlite/binding",
    "llvmlite/utils.py",
    "multidict/_testcapi.*",
    "pyparsing/diagram",
)
# Of kubernetes the agent takes how to reach and convince an API server: 100 kB of 126 MB. The models and clients of all
# its APIs are the rest.
_KEPT_OF = {
    "kubernetes": (
        "__init__.py",  # found, and passed over
        "client/configuration.py",
        "config/config_exception.py",
        "config/dateutil.py",
        "config/exec_provider.py",
        "config/incluster_config.py",
        "config/kube_config.py",
    ),
}
# What only the parts of kubernetes that are left out import.
_NEVER_IMPORTED = frozenset([
    "aiohttp-retry", "annotated-types", "durationpy", "pydantic", "pydantic-core", "python-dateutil", "six",
    "typing-inspection", "tzdata", "websocket-client",
])  # fmt: skip
# Headers of METADATA that say what a package is: scanners for known weaknesses look for them.
_KEPT_HEADERS = ("Metadata-Version", "Name", "Version", "License", "License-Expression", "Home-page", "Requires-Dist")
# Shared libraries inside wheels, which no METADATA names.
_BUNDLED = {
    "libelf": "LGPL-3.0-or-later OR GPL-2.0-or-later (elfutils)",
    "libz": "Zlib",
    "libzstd": "BSD-3-Clause OR GPL-2.0-only",
    "liblzma": "0BSD (public domain)",
    "libbz2": "bzip2-1.0.6",
}
_CLASSIFIER = "License :: OSI Approved :: "


class BuildError(Exception):
    """The packages cannot be made; the text says what to do."""


class Vendored(NamedTuple):
    """One package, and where its licence texts lie."""

    name: str
    version: str
    licence: str
    texts: tuple[Path, ...]


def pins_file(version: str) -> Path:
    return ROOT / "packaging" / f"python{version}.txt"


def run_pip(python: Path, *words: str) -> str:
    """pip of this Python, run by the target's. Raises BuildError with what pip said."""
    command = [str(python), "-I", str(_PIP), *words, "--disable-pip-version-check", "--no-input", "--quiet"]
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=LIMIT_S, check=False
    )
    if done.returncode:
        raise BuildError(f"pip {' '.join(words[:2])} failed:\n{done.stderr.strip()}")
    return done.stdout


def dependencies() -> list[str]:
    """What pyproject.toml asks for."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return list(project["dependencies"])


def pin(python: Path, version: str) -> None:
    """Writes the newest versions that fit, with the hashes of the wheels for this Python."""
    report = run_pip(
        python, "install", "--dry-run", "--ignore-installed", "--only-binary=:all:", "--report=-", *dependencies()
    )
    lines = [
        f"# The wheels that the agent asks for with Python {version}; `make pins` writes this file. Those that deb,",
        "# tarball and image do not carry are named in scripts/vendored.py.",
        *sorted(
            f"{_plain(one['metadata']['name'])}=={one['metadata']['version']} "
            f"--hash=sha256:{one['download_info']['archive_info']['hashes']['sha256']}"
            for one in json.loads(report)["install"]
        ),
    ]
    pins_file(version).write_text("\n".join(lines) + "\n")


def install(python: Path, version: str, where: Path) -> None:
    """The pinned wheels, unpacked and thinned out. Raises BuildError."""
    pins = pins_file(version)
    if not pins.exists():
        raise BuildError(f"{pins} is missing: `make pins` writes it for the Python that is {python}")
    lines = {_plain(line.split("==")[0]): line for line in pins.read_text().splitlines() if "==" in line}
    asked = {_plain(re.split(r"[^\w.-]", text, maxsplit=1)[0]) for text in dependencies()}
    if missing := sorted(asked - lines.keys()):
        raise BuildError(f"{pins} lacks what pyproject.toml asks for: {', '.join(missing)}; `make pins` writes it anew")
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as carried:
        carried.writelines(f"{line}\n" for name, line in lines.items() if name not in _NEVER_IMPORTED)
        carried.flush()
        run_pip(python, "install", "--target", str(where), "--no-compile", "--no-deps", "--only-binary=:all:",
                "--require-hashes", "--requirement", carried.name)  # fmt: skip
    thin(where)


def thin(where: Path) -> None:
    """Leaves out what only building or testing needs, and the symbols of shared libraries."""
    for pattern in _UNUSED_PATHS:
        for path in where.glob(pattern):
            _remove(path)
    for name, kept in _KEPT_OF.items():
        for path in sorted((where / name).rglob("*"), reverse=True):
            if path.is_dir():
                if not any(path.iterdir()):
                    path.rmdir()
            elif path.relative_to(where / name).as_posix() not in kept:
                path.unlink()
    for path in sorted(where.rglob("*"), reverse=True):
        if path.name in _UNUSED_NAMES or path.suffix in _UNUSED_SUFFIXES:
            _remove(path)
    for info in where.glob("*.dist-info"):
        _thin_info(info)
    libraries = [str(path) for path in where.rglob("*") if re.search(r"\.so(\.[\d.]+)?$", path.name)]
    subprocess.run(["strip", "--strip-unneeded", *libraries], check=True, timeout=LIMIT_S)


def _thin_info(info: Path) -> None:
    metadata = BytesHeaderParser().parsebytes((info / "METADATA").read_bytes())
    kept = [f"{name}: {value}" for name in _KEPT_HEADERS for value in metadata.get_all(name, ())]
    kept += [f"Classifier: {value}" for value in metadata.get_all("Classifier", ()) if value.startswith(_CLASSIFIER)]
    # A licence of several lines goes on in lines that begin with a blank.
    (info / "METADATA").write_text("\n".join(line.replace("\n", "\n    ") for line in kept) + "\n")
    for path in sorted(info.rglob("*"), reverse=True):
        if path.is_dir():
            if not any(path.iterdir()):
                path.rmdir()
        elif path.name != "METADATA" and not _is_licence(path):
            path.unlink()


def _is_licence(path: Path) -> bool:
    return re.match(r"(?i)(licen[cs]e|copying|notice|authors)", path.name) is not None


def packages(where: Path) -> Iterator[Vendored]:
    """What lies in the directory, by name."""
    for info in sorted(where.glob("*.dist-info")):
        metadata = BytesHeaderParser().parsebytes((info / "METADATA").read_bytes())
        short = (metadata["License"] or "").strip()
        classified = [value.removeprefix(_CLASSIFIER) for value in metadata.get_all("Classifier", ())]
        licence = metadata["License-Expression"] or (short if "\n" not in short else "") or ", ".join(classified)
        texts = tuple(sorted(path for path in info.rglob("*") if path.is_file() and _is_licence(path)))
        yield Vendored(metadata["Name"], metadata["Version"], licence or "see its licence text", texts)
    for library in sorted(where.glob("*.libs/*")):
        stem = re.split(r"[-.]", library.name)[0]
        yield Vendored(f"{stem} (in {library.parent.name})", "", _BUNDLED.get(stem, "unknown"), ())


def needed_libraries(files: Sequence[Path]) -> set[str]:
    """The shared libraries that these ask for and do not bring along."""
    shown = subprocess.run(
        ["readelf", "--dynamic", "--wide", *map(str, files)],
        capture_output=True,
        text=True,
        check=True,
        timeout=LIMIT_S,
    ).stdout
    return set(re.findall(r"\(NEEDED\).*\[(.+?)\]", shown)) - {path.name for path in files}


def _plain(name: str) -> str:
    """A package's name as indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()
