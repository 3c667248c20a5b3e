"""Counters of this sandbox in the Prometheus text format; every metric is declared here."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


@dataclass(slots=True)
class Metrics:
    """Labels are bounded: reasons, HTTP status codes and kinds of file operations."""

    ended: Counter[str] = field(default_factory=Counter)
    answers: Counter[int] = field(default_factory=Counter)
    duration_seconds: float = 0.0
    cpu_seconds: float = 0.0
    output_bytes: int = 0
    oom_kills: int = 0
    connections_refused: int = 0
    file_operations: Counter[str] = field(default_factory=Counter)
    file_bytes: Counter[str] = field(default_factory=Counter)
    gauges: dict[str, tuple[str, Callable[[], float]]] = field(default_factory=dict)

    def text(self) -> str:
        lines: list[str] = []

        def metric(name: str, kind: str, help_text: str, samples: dict[str, float]) -> None:
            lines.append(f"# HELP paddock_runtime_{name} {help_text}")
            lines.append(f"# TYPE paddock_runtime_{name} {kind}")
            lines.extend(
                f"paddock_runtime_{name}{labels} {value:.12g}" for labels, value in samples.items()
            )

        metric(
            "executions_total",
            "counter",
            "Ended executions by reason.",
            {f'{{reason="{reason}"}}': count for reason, count in sorted(self.ended.items())},
        )
        metric(
            "http_requests_total",
            "counter",
            "Answers by HTTP status.",
            {f'{{status="{status}"}}': count for status, count in sorted(self.answers.items())},
        )
        metric(
            "file_operations_total",
            "counter",
            "What clients asked the file API for and got.",
            {f'{{operation="{kind}"}}': n for kind, n in sorted(self.file_operations.items())},
        )
        metric(
            "file_bytes_total",
            "counter",
            "Content of files that clients read and wrote.",
            {f'{{direction="{way}"}}': count for way, count in sorted(self.file_bytes.items())},
        )
        for name, help_text, value in (
            ("execution_seconds_total", "Wall clock of ended executions.", self.duration_seconds),
            ("execution_cpu_seconds_total", "CPU time of ended executions.", self.cpu_seconds),
            ("output_bytes_total", "Bytes that executions wrote.", self.output_bytes),
            ("oom_kills_total", "Processes that the kernel killed for memory.", self.oom_kills),
            (
                "connections_refused_total",
                "Connections closed at once, there being too many.",
                self.connections_refused,
            ),
        ):
            metric(name, "counter", help_text, {"": value})
        for name, (help_text, read) in self.gauges.items():
            metric(name, "gauge", help_text, {"": read()})
        return "\n".join(lines) + "\n"
