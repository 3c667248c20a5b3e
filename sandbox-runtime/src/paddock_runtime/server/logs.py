"""One-line JSON logs on stderr. Never code, output, environment or tokens."""

import json
import logging
import sys
from datetime import UTC, datetime


class LibraryHandler(logging.Handler):
    """What libraries log: they may quote an address or an error, and are no lines of ours."""

    def emit(self, record: logging.LogRecord) -> None:
        broken = record.exc_info[1] if record.exc_info else None
        _write(
            record.levelname.lower(),
            "library",
            {
                "logger": record.name,
                "message": record.getMessage(),
                "error": None if broken is None else repr(broken)[:500],
            },
        )


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
