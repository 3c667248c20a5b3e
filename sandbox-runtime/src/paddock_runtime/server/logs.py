"""One-line JSON logs on stderr. Never code, output, environment or tokens."""

import json
import sys
from datetime import UTC, datetime


def info(event: str, **fields: object) -> None:
    _write("info", event, fields)


def warning(event: str, **fields: object) -> None:
    _write("warning", event, fields)


def error(event: str, **fields: object) -> None:
    _write("error", event, fields)


def _write(level: str, event: str, fields: dict[str, object]) -> None:
    line = {
        "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "level": level,
        "event": event,
        **{name: value for name, value in fields.items() if value is not None},
    }
    sys.stderr.write(json.dumps(line, default=str) + "\n")
    sys.stderr.flush()
