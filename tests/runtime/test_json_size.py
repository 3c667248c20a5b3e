"""What a body will be in memory is told before it is parsed, and bounded."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.runtime.pod import Pod

from paddock_runtime.server.json_size import VALUES, values_in

_TEXTS = st.text(st.sampled_from('ab"\\,[]{}:\n\u00e9\U0001f600')) | st.text()
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | _TEXTS,
    lambda inner: st.lists(inner) | st.dictionaries(_TEXTS, inner),
    max_leaves=40,
)
PLAIN = {"id": "x", "language": "python", "code": "1"}
HALF = VALUES // 2 - 20


def count(value: Any) -> int:
    inner = value if isinstance(value, list) else value.values() if isinstance(value, dict) else ()
    return 1 + sum(map(count, inner))


@given(_JSON, st.booleans())
def test_no_value_is_missed_and_nothing_in_a_string_counts(value: Any, ascii_only: bool) -> None:
    found = values_in(json.dumps(value, ensure_ascii=ascii_only).encode())
    assert count(value) <= found <= 2 * count(value)


def test_a_crowd_of_strings_is_not_taken_apart() -> None:
    body = b'["' + b'","' * (5 * VALUES) + b'"]'
    assert VALUES < values_in(body) <= 5 * VALUES + 1


def test_code_may_hold_what_it_likes() -> None:
    code = "print(['\\\\', \"{,\"])\n" * 40_000
    assert values_in(json.dumps({**PLAIN, "code": code}).encode()) == 4


def test_a_long_argv_is_fine(pod: Pod) -> None:
    argv = ["bash", "-c", "echo $#", "bash", *["a"] * (VALUES - 20)]
    assert pod.run(argv=argv)["stdout"]["head"] == f"{VALUES - 20}\n"


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ('{"id":"x","env":[' + "{}," * 1_300_000 + "{}]}", "room for 2600005 JSON values"),
        ('["' + '","' * 1_300_000 + '"]', "room for 650000 JSON values"),
        (json.dumps({**PLAIN, "env": [{"name": 1}] * HALF}), "env: List should have at most 256"),
        (json.dumps({**PLAIN, "argv": [1] * 2 * HALF}), "argv.0: Input should be a valid string"),
        (json.dumps({"f" * 220 + str(i): 1 for i in range(2 * HALF)}), "there is no such field"),
        ('{"' + "f" * 4_000_000 + '":1}', "there is no such field"),
    ],
    ids=["empties", "strings", "env", "argv", "fields", "name"],
)
def test_no_body_takes_the_runtime_s_memory(pod: Pod, body: str, said: str) -> None:
    process = Path(f"/proc/{pod.runtime_pid()}")
    (process / "clear_refs").write_text("5")  # the peak begins anew
    before = peak(process)
    status, problem = pod.call("POST", "/v1/executions", raw=body.encode())
    assert status in (413, 422)
    assert said in problem["detail"]
    assert len(problem["detail"]) < 2000
    assert peak(process) - before < 48 << 20


def peak(process: Path) -> int:
    """Bytes that the process held at the most."""
    return int((process / "status").read_text().split("VmHWM:")[1].split()[0]) << 10


@pytest.mark.parametrize("path", ["/v1/executions", "/v1/executions/bomb/stdin"])
def test_nothing_is_inflated(pod: Pod, path: str) -> None:
    """300 KB of gzip are 300 MB."""
    if path.endswith("stdin"):
        pod.submit(id="bomb", argv=["cat"], stdinOpen=True)
    process = Path(f"/proc/{pod.runtime_pid()}")
    (process / "clear_refs").write_text("5")
    before = peak(process)
    bomb = gzip.compress(b'{"id":"x","language":"bash","code":"' + b" " * (64 << 20) + b'"}', 9)
    status, problem = pod.call("POST", path, raw=bomb, headers={"Content-Encoding": "gzip"})
    assert status == 422
    assert "Content-Encoding: 'gzip' is not taken" in problem["detail"]
    assert peak(process) - before < 16 << 20
    pod.call("DELETE", "/v1/executions/bomb")
