# SPDX-License-Identifier: Apache-2.0
"""The sources become the tree of files that a host gets, which `pack.sh` packs as deb and tarball: `tree.py OUT`.

The packages lie in a virtual environment below /usr/lib/falco-py that uses the system's Python, so that nothing else
on the machine can change what the agent imports, and the agent changes nothing for others. Invariant: the same commit
gives the same bytes (times are SOURCE_DATE_EPOCH's, bytecode is by hash), and the target needs no compiler.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

from vendored import LIMIT_S, ROOT, BuildError, Vendored, install, needed_libraries, packages, pin, run_pip, thin

PACKAGING = ROOT / "packaging"
CACHE = ROOT / "build" / "host"
HOME = "usr/lib/falco-py"
RULES = ROOT / "rules" / "falco_rules.yaml"

# (file of packaging/, place on the host); `make docs` writes the first three.
PLACES = (
    ("falco.yaml", "etc/falco/falco.yaml"),
    ("falco-py.8", "usr/share/man/man8/falco-py.8"),
    ("completion/falco-py.bash", "usr/share/bash-completion/completions/falco-py"),
    ("falco_rules.local.yaml", "etc/falco/falco_rules.local.yaml"),
    ("falco.service", "usr/lib/systemd/system/falco.service"),
    ("logrotate", "etc/logrotate.d/falco-py"),
)
EMPTY_DIRECTORIES = ("etc/falco/rules.d", "etc/falco/config.d")
DOCS = ("host.md", "rules.md", "rule-errors.md", "testing-rules.md", "explain.md", "differences.md")
LAUNCHER = f"""\
#!/{HOME}/bin/python3 -I
import sys

from falco_py.cli import main

sys.exit(main())
"""
# Every module that the agent may import, so that a package that was thinned too much fails here.
TRIAL = """
import importlib, pkgutil, sys
import aiohttp, aiohttp.web, falco_py, prometheus_client, pylibbpf, pyparsing, re2, yaml
yaml.CSafeLoader
for module in pkgutil.walk_packages(falco_py.__path__, "falco_py."):
    if not module.name.endswith((".__main__", ".loader")):
        importlib.import_module(module.name)

# What is imported when an API server is asked, as a kubeconfig says and in a pod.
import os, tempfile
from falco_py.kube.access import Access, AccessError
with tempfile.TemporaryDirectory() as directory:
    def written(name, text):
        path = os.path.join(directory, name)
        with open(path, "w") as out:
            out.write(text)
        return path

    access = Access(written("kubeconfig", yaml.safe_dump({
        "current-context": "x",
        "contexts": [{"name": "x", "context": {"cluster": "x", "user": "x"}}],
        "clusters": [{"name": "x", "cluster": {"server": "https://127.0.0.1:1"}}],
        "users": [{"name": "x", "user": {"token": "t"}}],
    })))
    access.open()
    assert access.url == "https://127.0.0.1:1", access.url
    for name in ("token", "ca.crt"):
        written(name, "x")
    address = {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": "1"}
    try:
        Access(service_account=directory, environ=address).open()
    except AccessError as error:
        assert "certificates: " in str(error), error
    else:
        raise AssertionError("a certificate that is none was taken")
"""
# The system's packages that bring the shared libraries.
LIBRARIES = {
    "libc.so.6": "libc6",
    "libdl.so.2": "libc6",
    "libm.so.6": "libc6",
    "libpthread.so.0": "libc6",
    "librt.so.1": "libc6",
    "ld-linux-x86-64.so.2": "libc6",
    "libgcc_s.so.1": "libgcc-s1",
    "libstdc++.so.6": "libstdc++6",
    "libz.so.1": "zlib1g",
}


def main() -> int:
    options = argparse.ArgumentParser(description="stages the files of a host installation")
    options.add_argument("out", type=Path, nargs="?", help="the directory to make")
    options.add_argument("--python", type=Path, default=Path("/usr/bin/python3"), help="the target's Python")
    options.add_argument("--pin", action="store_true", help="write the versions and hashes of the packages anew")
    options.add_argument("--wheel", type=Path, help="only put the agent's wheel into this directory")
    given = options.parse_args()
    os.umask(0o022)
    try:
        version = target_version(given.python)
        if given.pin:
            pin(given.python, version)
        elif given.wheel:
            given.wheel.mkdir(parents=True, exist_ok=True)
            shutil.copy2(wheel(given.python, version), given.wheel)
        elif given.out:
            stage(given.out, given.python, version)
        else:
            options.error("the directory to make is missing")
    except BuildError as error:
        print(f"tree: {error}", file=sys.stderr)
        return 2
    return 0


def target_version(python: Path) -> str:
    """As `3.11`. Raises BuildError."""
    code = (
        "import os, sys, sysconfig; header = os.path.join(sysconfig.get_path('include'), 'Python.h'); "
        "print('%d.%d' % sys.version_info[:2], os.path.exists(header))"
    )
    try:
        shown = subprocess.run([str(python), "-I", "-c", code], capture_output=True, text=True, check=True, timeout=60)
    except (OSError, subprocess.CalledProcessError) as error:
        raise BuildError(f"{python} is no Python that runs: {error}") from error
    version, headers = shown.stdout.split()
    if headers != "True":
        raise BuildError(f"the headers of {python} are missing: install python{version}-dev")
    return version


def stage(out: Path, python: Path, version: str) -> None:
    """Makes the tree. Raises BuildError."""
    if missing := [str(PACKAGING / name) for name, _ in PLACES if not (PACKAGING / name).exists()]:
        raise BuildError(f"missing: {', '.join(missing)}; `make docs` writes those that are made from the code")
    shutil.rmtree(out, ignore_errors=True)
    home = out / HOME
    site = home / "lib" / f"python{version}" / "site-packages"
    shutil.copytree(third_parties(python, version), site)
    third = list(packages(site))
    run_pip(python, "install", "--target", str(site), "--no-compile", "--no-deps", "--no-index",
            str(wheel(python, version)))  # fmt: skip
    shutil.rmtree(site / "share")  # the wheel's copy of what is put in its place below
    thin(site)
    (home / "bin").mkdir(parents=True)
    (home / "bin" / "python3").symlink_to(f"/usr/bin/python{version}")
    (home / "pyvenv.cfg").write_text("home = /usr/bin\ninclude-system-site-packages = false\n")
    put(out / "usr/bin/falco-py", LAUNCHER.encode(), 0o755)
    for name, place in PLACES:
        put(out / place, (PACKAGING / name).read_bytes())
    for place in ("etc/falco/falco_rules.yaml", "usr/share/falco-py/falco_rules.yaml"):
        put(out / place, RULES.read_bytes())
    for place in EMPTY_DIRECTORIES:
        (out / place).mkdir(parents=True)
    documents(out / "usr/share/doc/falco-py", third)
    compress(out / "usr/share/man/man8/falco-py.8")
    trial(python, site)
    compile_all(python, out, site)
    (out.parent / f"{out.name}.depends").write_text(depends(version, site) + "\n")
    same_times(out)


def third_parties(python: Path, version: str) -> Path:
    """The thinned packages of others, kept until their pins or this program change."""
    key = digest([PACKAGING / f"python{version}.txt", ROOT / "pyproject.toml", Path(__file__).with_name("vendored.py")])
    kept = CACHE / f"python{version}-{key}"
    if not kept.exists():
        fresh = kept.with_suffix(".new")
        shutil.rmtree(fresh, ignore_errors=True)
        install(python, version, fresh)
        fresh.rename(kept)
    return kept


def wheel(python: Path, version: str) -> Path:
    """The agent's own wheel for this Python, built from a copy of the sources, kept until they change."""
    sources = [path for path in sorted((ROOT / "agent/falco_py").rglob("*"))
               if path.is_file() and path.suffix not in (".so", ".pyc")]  # fmt: skip
    if not any(path.name.endswith(".bpf.o") for path in sources):
        raise BuildError("the BPF objects are missing: run `make setup`")
    sources += [ROOT / name for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE")] + [RULES]
    sources += [path for name, _ in PLACES if (path := PACKAGING / name).exists()]
    kept = CACHE / f"wheel{version}-{digest(sources)}"
    if not kept.exists():
        copy = CACHE / "source"
        shutil.rmtree(copy, ignore_errors=True)
        for path in sources:
            put(copy / path.relative_to(ROOT), path.read_bytes())
        fresh = kept.with_suffix(".new")
        shutil.rmtree(fresh, ignore_errors=True)
        run_pip(python, "wheel", "--no-deps", "--wheel-dir", str(fresh), str(copy))
        fresh.rename(kept)
    return next(kept.glob("*.whl"))


def documents(where: Path, third: list[Vendored]) -> None:
    """The pages, and `copyright` with every package and its licence."""
    for name in DOCS:
        if (ROOT / "docs" / name).exists():
            put(where / name, (ROOT / "docs" / name).read_bytes())
    lines = [
        "falco-py",
        "  licence: Apache-2.0 (its text is in /usr/share/common-licenses/Apache-2.0)",
        "  its eBPF programs: GPL-2.0-only OR Apache-2.0",
        "",
        "Packages of others below /usr/lib/falco-py; their licence texts are in licenses/ beside this file:",
    ]
    for one in third:
        lines += ["", f"{one.name} {one.version}".strip(), f"  licence: {one.licence}"]
        for text in one.texts:
            put(where / "licenses" / one.name / text.name, text.read_bytes())
    put(where / "copyright", ("\n".join(lines) + "\n").encode())


def trial(python: Path, site: Path) -> None:
    """Imports everything from the tree alone. Raises BuildError."""
    code = f"import sys; sys.dont_write_bytecode = True; sys.path.insert(0, {str(site)!r})\n{TRIAL}"
    done = subprocess.run(
        [str(python), "-I", "-S", "-c", code], capture_output=True, text=True, timeout=LIMIT_S, check=False
    )
    if done.returncode:
        raise BuildError(f"the staged packages do not work:\n{done.stderr.strip()}")


def compile_all(python: Path, out: Path, site: Path) -> None:
    """Bytecode now and not on the target: dpkg knows it, nothing writes below /usr later, starts are quick."""
    command = [str(python), "-I", "-m", "compileall", "-q", "-j", "0", "--invalidation-mode", "unchecked-hash"]
    subprocess.run([*command, "-s", str(out), "-p", "/", str(site)], check=True, timeout=LIMIT_S)


def depends(version: str, site: Path) -> str:
    """The target's packages. Raises BuildError for a library of unknown origin."""
    needed = needed_libraries([path for path in site.rglob("*") if ".so" in path.suffixes])
    if unknown := sorted(needed - LIBRARIES.keys()):
        raise BuildError(f"it is not known which package brings {', '.join(unknown)}: add it to LIBRARIES")
    return ", ".join([f"python{version}", *sorted({LIBRARIES[name] for name in needed})])


def compress(path: Path) -> None:
    path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes(), 9, mtime=0))
    path.unlink()


def same_times(out: Path) -> None:
    epoch = int(os.environ["SOURCE_DATE_EPOCH"])
    for path in (out, *out.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or (os.access(path, os.X_OK) and ".so" not in path.suffixes) else 0o644)
        os.utime(path, (epoch, epoch), follow_symlinks=False)


def put(path: Path, content: bytes, mode: int = 0o644) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    path.chmod(mode)


def digest(paths: list[Path]) -> str:
    made = hashlib.sha256()
    for path in paths:
        if path.exists():
            content = path.read_bytes()
            made.update(f"{path.name}\0{len(content)}\0".encode() + content)
    return made.hexdigest()[:16]


if __name__ == "__main__":
    sys.exit(main())
