"""Metric names follow Prometheus' rules; log lines are one JSON object each."""

import json
import logging

import pytest

from paddock_operator.telemetry import logs, metrics
from paddock_operator.telemetry.http import HealthServer

FORBIDDEN_LABELS = {"user", "session", "pod", "namespace", "uid", "name_of_session"}


def test_metrics_are_in_base_units_with_bounded_labels() -> None:
    families = list(metrics.REGISTRY.collect())
    assert len(families) > 8
    for family in families:
        assert not family.name.endswith(("_ms", "_milliseconds", "_kb"))
        if family.type == "histogram":
            assert family.name.endswith("_seconds")
        for sample in family.samples:
            assert not FORBIDDEN_LABELS & sample.labels.keys(), sample


def test_a_log_line_is_one_json_object_with_its_fields(
    capsys: pytest.CaptureFixture[str],
) -> None:
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    try:
        logs.configure("INFO")
        logging.getLogger("paddock").info("two\nlines", extra={"reason": "Completed"})
    finally:
        root.handlers[:] = before
        root.setLevel(level)
    (line,) = capsys.readouterr().out.splitlines()
    said = json.loads(line)
    assert said["message"] == "two\nlines"
    assert said["severity"] == "INFO"
    assert said["reason"] == "Completed"
    assert said["timestamp"].endswith("+00:00")


async def test_health_endpoints_say_the_state_or_why_not() -> None:
    import aiohttp

    server = HealthServer(alive=lambda: (True, "ok"), ready=lambda: (True, "ok: standby"))
    port = await server.start(0)
    try:
        async with aiohttp.ClientSession() as http:
            base = f"http://127.0.0.1:{port}"
            async with http.get(f"{base}/readyz") as answer:
                assert (answer.status, await answer.text()) == (200, "ok: standby")
            server.ready = lambda: (False, "nothing listed yet")
            async with http.get(f"{base}/readyz") as answer:
                assert (answer.status, await answer.text()) == (503, "nothing listed yet")
            async with http.get(f"{base}/livez") as answer:
                assert answer.status == 200
            server.alive = lambda: (False, "the watch of Pod gave no sign of life for 101 s")
            async with http.get(f"{base}/livez") as answer:
                assert (answer.status, "of Pod" in await answer.text()) == (503, True)
            async with http.get(f"{base}/metrics") as answer:
                assert b"paddock_build_info" in await answer.read()
    finally:
        await server.close()
