# SPDX-License-Identifier: Apache-2.0
"""Random texts and damaged rule files become findings: anything but a bundle or a RulesError.

With atheris, which follows what the loader does with a text and varies those that lead to something new; without it
hypothesis, which knows nothing of that. A text that was found stays in build/fuzz, with what was learned.
"""

from __future__ import annotations

import argparse
import random
import re
import subprocess
import sys
import time
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
KEPT = ROOT / "build" / "fuzz"
ONE_TEXT_S = 20  # a text that takes longer is a finding
MEMORY_MB = 2048
LONGEST = 4096  # characters of a text
EXAMPLES = 100  # of hypothesis between two looks at the clock


def attempt(text: str) -> None:
    """Raises what the loader should not have raised."""
    from falco_py.rules.bundle import load
    from falco_py.rules.problems import RulesError

    try:
        load([("fuzz.yaml", text)])
    except RulesError as error:
        told = any(problem.severity == "error" for problem in error.problems) and str(error)
        if not told:
            raise RuntimeError("a RulesError without an error") from error


def seeds() -> list[str]:
    """Rules of this repository in small pieces."""
    pieces: list[str] = []
    for path in (ROOT / "rules").glob("*.yaml"):
        pieces += re.split(r"\n(?=- )", path.read_text())
    for path in sorted((ROOT / "agent" / "tests" / "rules").glob("*/*.yaml")):
        pieces.append(path.read_text())
    for path in sorted((ROOT / "agent" / "tests" / "rules").glob("*/*.txt")):
        for case in path.read_text().split("\n## ")[1:]:
            written = case.partition("\n")[2].partition("\n=> ")[0]
            pieces.append(written if written.startswith("- ") else _rule(written))
    return [piece for piece in dict.fromkeys(pieces) if len(piece) <= LONGEST]


def _rule(condition: str) -> str:
    indented = condition.replace("\n", "\n    ")
    return f"- rule: r\n  desc: d\n  priority: INFO\n  output: o %proc.name\n  condition: |2-\n    {indented}\n"


def words() -> list[str]:
    from falco_py.fields.catalogue import CATALOGUE
    from falco_py.rules import items, operators

    keys = [*items.OVERRIDABLE["rule"]["replace"], "items", "list", "macro", "rule", "source", "append", "override"]
    return [*keys, *operators.OPERATORS, *operators.MODIFIERS, *operators.TRANSFORMERS, *CATALOGUE, "and", "or", "not"]


def by_atheris(seconds: int) -> None:
    """Does not return: libFuzzer ends the process, with 0 when nothing was found."""
    import atheris

    with atheris.instrument_imports(include=["falco_py.rules"]):
        import falco_py.rules.bundle  # noqa: F401

    corpus = KEPT / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    for number, piece in enumerate(seeds()):
        (corpus / f"seed-{number}").write_text(piece)
    dictionary = KEPT / "words"
    dictionary.write_text("".join(f'"{word}"\n' for word in dict.fromkeys(words())))

    def one(data: bytes) -> None:
        attempt(data.decode("utf-8", "replace"))

    options = ("-verbosity=0", "-print_final_stats=1", f"-max_total_time={seconds}", f"-timeout={ONE_TEXT_S}",
               f"-rss_limit_mb={MEMORY_MB}", f"-max_len={LONGEST}", f"-dict={dictionary}",
               f"-artifact_prefix={KEPT}/")  # fmt: skip
    atheris.Setup([sys.argv[0], *options, str(corpus)], one)
    atheris.Fuzz()


def by_hypothesis(seconds: int) -> int:
    """The number of texts tried."""
    from hypothesis import HealthCheck, given, settings
    from hypothesis import strategies as st

    pieces, known, tried = seeds(), words(), 0

    def damaged(piece: str, seed: int) -> str:
        chance = random.Random(seed)
        for _ in range(chance.randint(1, 4)):
            start = chance.randrange(len(piece) + 1)
            end = start + chance.choice((0, 0, 1, 2, 10))
            other = chance.choice(pieces)
            at = chance.randrange(len(other))
            new = chance.choice(
                (chance.choice(known), other[at : at + 20], chance.choice("()[]{},=%'\"\\\n :-&*|>"), "")
            )
            piece = piece[:start] + new + piece[end:]
        return piece

    texts = st.text(max_size=300) | st.builds(damaged, st.sampled_from(pieces), st.integers(0, 1 << 32))

    @settings(max_examples=EXAMPLES, deadline=ONE_TEXT_S * 1000, database=None, suppress_health_check=list(HealthCheck))
    @given(texts)
    def run(text: str) -> None:
        nonlocal tried
        tried += 1
        attempt(text)

    end = time.monotonic() + seconds
    while time.monotonic() < end:
        run()
    return tried


def has_atheris() -> bool:
    """Is it there, or can it be installed?"""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wanted = project["project"]["optional-dependencies"]["fuzz"]
    try:
        import atheris  # noqa: F401
    except ImportError:
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", "install", "--only-binary=:all:"]
        return subprocess.run([*pip, *wanted], check=False).returncode == 0
    return True


def main() -> int:
    parser = argparse.ArgumentParser(prog="fuzz", description=__doc__)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--hypothesis", action="store_true", help="even where atheris is to be had")
    options = parser.parse_args()
    if not options.hypothesis and has_atheris():
        by_atheris(options.seconds)
    if not options.hypothesis:
        print("fuzz: atheris cannot be installed for this Python; hypothesis damages the rules instead")
    tried = by_hypothesis(options.seconds)
    print(f"fuzz: {tried} texts, nothing found")
    return 0


if __name__ == "__main__":
    sys.exit(main())
