# SPDX-License-Identifier: Apache-2.0
"""The agent as a subprocess, and what it reports.

Rules files become a running agent whose alerts (JSON lines on its standard output) are collected by a thread.
Invariant: no test waits a fixed time. Something that must come is waited for with a deadline; that something does not
come is shown by a sentinel that was done after it and has arrived.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

REPOSITORY = Path(__file__).resolve().parents[3]
DEFAULT_RULES = REPOSITORY / "rules" / "falco_rules.yaml"
READY = "capture started"
START_DEADLINE_S = 60.0
STOP_DEADLINE_S = 20.0
ALERT_DEADLINE_S = 10.0

SENTINEL_PROGRAM = "fpysent"
SENTINEL_FILE = "falco-py-sentinel"
# A program start and a file travel by different lanes, so there is one sentinel for each. The file is known by its
# whole name, which the kernel can tell: a looser rule would draw every open of the machine out of it.
SENTINEL_RULES = f"""\
- rule: Sentinel program
  desc: A program that only the live tests run was started.
  condition: evt.type in (execve, execveat) and proc.name startswith {SENTINEL_PROGRAM}
  output: sentinel program | command=%proc.cmdline process=%proc.name
  priority: DEBUG
- rule: Sentinel file
  desc: A file that only the live tests make was opened.
  condition: evt.type in (open, openat, openat2) and fd.filename = {SENTINEL_FILE}
  output: sentinel file | file=%fd.name command=%proc.cmdline process=%proc.name
  priority: DEBUG
"""


@dataclass(frozen=True)
class Alert:
    """One line of JSON output."""

    rule: str
    priority: str
    output: str
    fields: dict[str, Any]
    tags: tuple[str, ...]
    source: str

    def has(self, text: str) -> bool:
        """Whether the alert is about what `text` marks."""
        return text in self.output or any(text in value for value in self.fields.values() if isinstance(value, str))


def agent_command() -> list[str]:
    """The agent that belongs to this Python."""
    program = Path(sys.executable).parent / "falco-py"
    return [str(program)] if program.exists() else [sys.executable, "-m", "falco_py"]


@dataclass
class Agent:
    """One agent: `start`, then `expect` and `expect_none`, then `stop`, always."""

    rules: Sequence[Path]
    scratch: Path
    options: Sequence[str] = ()
    json_output: bool = True
    before: Sequence[str] = ()  # a command that ends in running the agent in its own place
    alerts: list[Alert] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    process: subprocess.Popen[str] | None = None

    def __post_init__(self) -> None:
        self._changed = threading.Condition()
        self._threads: list[threading.Thread] = []
        self.scratch.mkdir(parents=True, exist_ok=True)

    @property
    def status_socket(self) -> Path:
        return self.scratch / "status.sock"

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def start(self) -> Agent:
        """Start it and wait until it captures."""
        sentinel_rules = self.scratch / "sentinel_rules.yaml"
        sentinel_rules.write_text(SENTINEL_RULES, encoding="utf-8")
        command = [*agent_command(), "-o", f"json_output={str(self.json_output).lower()}"]
        for path in (*self.rules, sentinel_rules):
            command += ["-r", str(path)]
        self.process = subprocess.Popen(
            [*self.before, *command, *self.options],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="backslashreplace",
            start_new_session=True,
            cwd=self.scratch,
            env={**os.environ, "FALCO_PY_STATUS_SOCKET": str(self.status_socket)},
        )
        for stream, take in ((self.process.stdout, self._take_line), (self.process.stderr, self._take_error)):
            thread = threading.Thread(target=self._read, args=(stream, take), daemon=True)
            thread.start()
            self._threads.append(thread)
        ready = self._wait(
            lambda: any(READY in line.lower() for line in self.errors) or self._ended(), START_DEADLINE_S
        )
        if not ready or self._ended():
            self.kill()
            raise AssertionError(f"the agent did not start:\n{self.log()}")
        return self

    def stop(self, signal_number: int = signal.SIGTERM) -> int:
        """End it and give its exit code; what it printed is complete then."""
        process = self.process
        if process is None:
            return 0
        if process.poll() is None:
            process.send_signal(signal_number)
            try:
                process.wait(timeout=STOP_DEADLINE_S)
            except subprocess.TimeoutExpired:
                self.kill()
                raise AssertionError(f"the agent did not end on signal {signal_number}:\n{self.log()}") from None
        self._join()
        return process.returncode

    def wait(self, deadline_s: float) -> int:
        """Wait for an agent that ends by itself."""
        assert self.process is not None
        try:
            self.process.wait(timeout=deadline_s)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"the agent did not end by itself:\n{self.log()}") from None
        self._join()
        return self.process.returncode

    @contextmanager
    def held(self) -> Iterator[None]:
        """It does not run meanwhile: what happens is read afterwards."""
        os.kill(self.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(self.pid, signal.SIGCONT)

    def kill(self) -> None:
        """End it at once."""
        if self.process is not None:
            if self.process.poll() is None:
                self.process.kill()
            self.process.wait()
            self._join()

    def expect(self, rule: str, marker: str, timeout_s: float = ALERT_DEADLINE_S, **contains: str) -> Alert:
        """The first alert of `rule` about `marker` whose fields hold the given texts (`proc_name` is proc.name)."""

        def fits(alert: Alert) -> bool:
            return (
                alert.rule == rule
                and alert.has(marker)
                and all(text in str(alert.fields.get(name.replace("_", "."), "")) for name, text in contains.items())
            )

        found = self._wait(lambda: next((alert for alert in self.alerts if fits(alert)), None), timeout_s)
        if found is None:
            raise AssertionError(
                f"no alert of {rule!r} about {marker!r} with {contains}; what was said about it:\n{self._about(marker)}"
                f"\n{self.log()}"
            )
        assert isinstance(found, Alert)
        return found

    def expect_line(self, text: str, timeout_s: float = ALERT_DEADLINE_S) -> str:
        """The first line of text output that holds `text`."""
        found = self._wait(lambda: next((line for line in self.lines if text in line), None), timeout_s)
        assert found is not None, f"no line with {text!r}:\n{self.log()}"
        return str(found)

    def expect_none(self, marker: str, rule: str | None = None) -> None:
        """No alert (of `rule`) about `marker` came, and everything up to now has been seen."""
        self.settle()
        about = [alert for alert in self.alerts if alert.has(marker) and rule in (None, alert.rule)]
        assert not about, f"unexpected: {[f'{alert.rule}: {alert.output}' for alert in about]}"

    def settle(self) -> None:
        """Wait until the agent has seen all that was done before this call."""
        digits = secrets.token_hex(4)
        program = self.scratch / f"{SENTINEL_PROGRAM}{digits}"
        shutil.copy2(shutil.which("cat") or "/bin/cat", program)
        file = self.scratch / SENTINEL_FILE
        file.write_bytes(b"")
        try:
            subprocess.run([str(program), str(file)], check=True, stdin=subprocess.DEVNULL, timeout=ALERT_DEADLINE_S)
            if self.json_output:
                self.expect("Sentinel program", digits)
                self.expect("Sentinel file", digits)
            else:
                self.expect_line(f"{SENTINEL_PROGRAM}{digits}")
                self.expect_line(f"file={file} command={program.name}")
        finally:
            program.unlink()
            file.unlink()

    def log(self) -> str:
        """The end of what it wrote to standard error."""
        return "\n".join(self.errors[-40:])

    def _about(self, marker: str) -> str:
        return "\n".join(f"  {alert.rule}: {alert.output}" for alert in self.alerts if alert.has(marker)) or "  nothing"

    def _ended(self) -> bool:
        return self.process is None or self.process.poll() is not None

    def _wait(self, look: Callable[[], Any], timeout_s: float) -> Any:
        ends = time.monotonic() + timeout_s
        with self._changed:
            while True:
                found = look()
                left = ends - time.monotonic()
                if found or left <= 0:
                    return found
                self._changed.wait(min(left, 0.2))

    def _read(self, stream: Any, take: Callable[[str], None]) -> None:
        for line in stream:
            with self._changed:
                take(line.rstrip("\n"))
                self._changed.notify_all()

    def _take_error(self, line: str) -> None:
        self.errors.append(line)

    def _take_line(self, line: str) -> None:
        self.lines.append(line)
        if not (self.json_output and line.startswith("{")):
            return
        try:
            parsed = json.loads(line)
        except ValueError:
            self.errors.append(f"not JSON: {line}")
            return
        self.alerts.append(
            Alert(
                rule=parsed.get("rule", ""),
                priority=parsed.get("priority", ""),
                output=parsed.get("output", ""),
                fields=parsed.get("output_fields") or {},
                tags=tuple(parsed.get("tags") or ()),
                source=parsed.get("source", ""),
            )
        )

    def _join(self) -> None:
        for thread in self._threads:
            thread.join(timeout=STOP_DEADLINE_S)


def marker() -> str:
    """A text that nothing else on the machine has."""
    return f"fpy{secrets.token_hex(6)}"


def run_python(
    code: str, *arguments: str, cwd: Path | None = None, timeout_s: float = 60.0
) -> subprocess.CompletedProcess[str]:
    """Run Python code in a process of its own; `arguments` show in its command line, so a marker goes there."""
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(
        [sys.executable, "-I", "-c", code, *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="backslashreplace",
        cwd=cwd,
        env=environment,
        timeout=timeout_s,
        check=False,
    )
