"""Programs to be run by both sides. Hand-written ones are read from hand_written/*.txt.

A file holds one program after another, each under a line `=== name`, which may end in a JSON
object with more fields of `Program`. shell.txt is bash, all others are Python.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

HAND_WRITTEN = Path(__file__).parent / "hand_written"


@dataclass(frozen=True)
class Program:
    """One program and what it gets; `then` is bash that looks at what it left in its directory."""

    name: str
    code: str
    language: str = "python"
    stdin: str = ""
    env: Mapping[str, str] = field(default_factory=dict)
    then: str | None = None

    def __str__(self) -> str:
        return self.name


def hand_written() -> Iterator[Program]:
    for path in sorted(HAND_WRITTEN.glob("*.txt")):
        language = "bash" if path.stem == "shell" else "python"
        text = _read(path)
        for part in text.split("\n=== ")[1:]:
            header, _, code = part.partition("\n")
            name, _, options = header.partition(" {")
            more = json.loads("{" + options) if options else {}
            yield _program(f"{path.stem}: {name}", language, code + "\n", more)


def _read(path: Path) -> str:
    # Not in text mode: carriage returns and form feeds are part of some programs.
    return "\n" + path.read_bytes().decode().removesuffix("\n")


def _program(name: str, language: str, code: str, more: dict[str, object]) -> Program:
    """Options that change the code: `prefix`; `strip` takes the last newline; `crlf` and `cr` are
    line ends; `joined` puts stderr into stdout; `repeat` puts text before."""
    if more.pop("strip", False):
        code = code.removesuffix("\n")
    if more.pop("joined", False):
        join = "__import__('os').dup2(1, 2)\n" if language == "python" else "exec 2>&1\n"
        code = join + code
    if "repeat" in more:
        words, times = more.pop("repeat")  # type: ignore[misc]
        code = words * times + code
    if "stdin_repeat" in more:
        words, times = more.pop("stdin_repeat")  # type: ignore[misc]
        more["stdin"] = words * times
    if more.pop("crlf", False):
        code = code.replace("\n", "\r\n")
    if more.pop("cr", False):
        code = code.replace("\n", "\r")
    return Program(name, str(more.pop("prefix", "")) + code, language, **more)  # type: ignore[arg-type]
