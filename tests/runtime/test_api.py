"""The HTTP contract: who is let in, what is refused and how it is said."""

import base64
import hashlib
import hmac
import json
import logging
import time
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from tests.runtime.pod import Pod, text

from paddock_api.executions import Execution, JournalPage
from paddock_api.messages import Capabilities, Problem
from paddock_runtime.server import logs


def refused(answer: tuple[int, Any], status: int, code: str) -> str:
    """Checks that the answer is that problem; its detail."""
    assert answer[0] == status, answer
    problem = Problem.model_validate(answer[1])
    assert (problem.code, problem.status) == (code, status)
    return problem.detail


def forged(header: dict[str, str], claims: dict[str, Any], secret: bytes = b"") -> str:
    """A token that no honest library would make."""

    def part(data: bytes) -> bytes:
        return base64.urlsafe_b64encode(data).rstrip(b"=")

    signed = part(json.dumps(header).encode()) + b"." + part(json.dumps(claims).encode())
    mac = part(hmac.new(secret, signed, hashlib.sha256).digest()) if secret else b""
    return (signed + b"." + mac).decode()


def bad_tokens(pod: Pod) -> dict[str, str]:
    now = int(time.time())
    claims = {"iat": now, "exp": now + 30, "aud": "sandbox-1"}
    public = pod.key.public_key()
    pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    good = pod.token()
    head, body, signature = good.split(".")
    return {
        "none": forged({"alg": "none", "typ": "JWT"}, claims),
        "None": forged({"alg": "None"}, claims),
        "hs256 with the raw public key": forged(
            {"alg": "HS256"}, claims, public.public_bytes_raw()
        ),
        "hs256 with the PEM public key": forged({"alg": "HS256"}, claims, pem),
        "hs256 with its base64": forged(
            {"alg": "HS256"}, claims, base64.b64encode(public.public_bytes_raw())
        ),
        "another key": pod.token(key=Ed25519PrivateKey.generate()),
        "another audience": pod.token(aud="sandbox-2"),
        "a list of audiences": pod.token(aud=["sandbox-1"]),
        "no audience": pod.token(aud=None),
        "expired": pod.token(iat=now - 100, exp=now - 50),
        "from the future": pod.token(iat=now + 100, exp=now + 130),
        "long-lived": pod.token(iat=now, exp=now + 3600),
        "long-lived into the past": pod.token(iat=now - 3600, exp=now + 30),
        "exp before iat": pod.token(iat=now, exp=now - 1),
        "no exp": pod.token(exp=None),
        "no iat": pod.token(iat=None),
        "fractional exp": pod.token(exp=now + 30.5),
        "text exp": forged({"alg": "EdDSA"}, {**claims, "exp": "soon"}),
        "changed claims": f"{head}.{forged({}, {**claims, 'sub': 'x'}).split('.')[1]}.{signature}",
        "no signature": f"{head}.{body}.",
        "cut": good[:-10],
        "not a token": "hello",
        "empty": "",
        "very long": "a" * 4000,
    }


def test_the_right_token_is_accepted_in_any_case_of_the_scheme(pod: Pod) -> None:
    assert pod.call("GET", "/v1/capabilities")[0] == 200


def test_every_bad_token_is_refused_everywhere(pod: Pod) -> None:
    for name, token in bad_tokens(pod).items():
        detail = refused(
            pod.call("POST", "/v1/executions", {"id": "evil"}, token=token), 401, "Unauthorized"
        )
        assert detail, name
        assert token[:20] not in detail or not token, name
    for method, path in [
        ("POST", "/v1/configure"),
        ("GET", "/v1/executions/x"),
        ("DELETE", "/v1/executions/x"),
        ("GET", "/v1/journal"),
        ("GET", "/v1/capabilities"),
        ("GET", "/v1/nothing"),
    ]:
        refused(pod.call(method, path, token="x.y.z"), 401, "Unauthorized")


def test_the_token_is_checked_before_the_body_is_read(pod: Pod) -> None:
    answer = pod.call("POST", "/v1/executions", raw=b"{" * 100, token="nothing")
    refused(answer, 401, "Unauthorized")


def test_two_keys_are_accepted_while_one_is_replaced() -> None:
    from paddock_runtime.server.auth import BadToken, Verifier, read_keys

    old, new, other = (Ed25519PrivateKey.generate() for _ in range(3))
    text_form = ",".join(
        base64.b64encode(key.public_key().public_bytes_raw()).decode() for key in (old, new)
    )
    verifier = Verifier(read_keys(text_form), "box")
    import jwt

    now = int(time.time())
    for key in (old, new):
        token = jwt.encode({"iat": now, "exp": now + 9, "aud": "box"}, key, algorithm="EdDSA")
        verifier.verify(f"Bearer {token}")
        verifier.verify(f"bearer  {token}")
    token = jwt.encode({"iat": now, "exp": now + 9, "aud": "box"}, other, algorithm="EdDSA")
    with pytest.raises(BadToken, match="no key"):
        verifier.verify(f"Bearer {token}")
    for wrong in ("", "Zm9v", "not base64!"):
        with pytest.raises(ValueError, match=r"key|32"):
            read_keys(wrong)


@pytest.mark.parametrize(
    ("change", "code", "said"),
    [
        ({"timeoutMs": 30_001}, "TimeoutAboveCeiling", "timeoutMs: 30001 is above the template's"),
        ({"timeoutMs": 0}, "InvalidRequest", "timeoutMs: "),
        ({"timeoutMs": "5"}, "InvalidRequest", "timeoutMs: "),
        ({"language": "ruby"}, "LanguageNotOffered", "'ruby' is not offered"),
        ({"argv": ["x"]}, "InvalidRequest", "not both"),
        ({"language": None, "code": None}, "InvalidRequest", "set either argv or language"),
        ({"code": "a\0b"}, "InvalidRequest", "code: holds a NUL"),
        ({"id": "../x"}, "InvalidRequest", "id: "),
        ({"id": "x" * 129}, "InvalidRequest", "id: "),
        ({"env": [{"name": "A-B", "value": ""}]}, "InvalidRequest", "env.0.name: "),
        ({"env": [{"name": "A", "value": "\0"}]}, "InvalidRequest", "env: holds a NUL"),
        ({"maxTime": 3}, "InvalidRequest", "maxTime: "),
    ],
)
def test_bad_executions(pod: Pod, change: dict[str, Any], code: str, said: str) -> None:
    request = {"id": "bad", "language": "python", "code": "print(1)", **change}
    request = {name: value for name, value in request.items() if value is not None}
    assert said in refused(pod.call("POST", "/v1/executions", request), 422, code)
    refused(pod.call("GET", "/v1/executions/bad"), 404, "NotFound")


def test_bodies_that_are_no_json(pod: Pod) -> None:
    for raw in (b"", b"{", b"[]", b'"x"', b"\xff\xfe", b'{"id": "\\ud800"}'):
        refused(pod.call("POST", "/v1/executions", raw=raw), 422, "InvalidRequest")


def test_bad_queries(pod: Pod) -> None:
    for query in ("wait=20", "wait=x", "wait=61s", "wait=-1s", "maxOutput=-1", "maxOutput=x"):
        answer = pod.call("GET", f"/v1/executions/x?{query}")
        assert query.split("=")[0] in refused(answer, 422, "InvalidRequest")
    refused(pod.call("GET", "/v1/journal?after=-1"), 422, "InvalidRequest")


def test_unknown_paths_methods_and_sizes(pod: Pod) -> None:
    refused(pod.call("GET", "/v1/nothing"), 404, "NotFound")
    refused(pod.call("GET", "/"), 404, "NotFound")
    detail = refused(pod.call("PUT", "/v1/executions"), 405, "MethodNotAllowed")
    assert "POST" in detail
    big = b'{"id": "big", "language": "python", "code": "' + b"x" * (4 << 20) + b'"}'
    refused(pod.call("POST", "/v1/executions", raw=big), 413, "BodyTooLarge")
    assert text(pod.python("print('fine')")) == "fine\n"


def test_an_id_is_accepted_once(pod: Pod) -> None:
    request = {"id": "once", "language": "bash", "code": "echo >> once.txt; wc -l < once.txt"}
    status, first = pod.call("POST", "/v1/executions?wait=5s", request)
    assert (status, text(first)) == (201, "1\n")
    status, again = pod.call("POST", "/v1/executions?wait=5s", request)
    assert (status, again) == (200, first)
    changed = {**request, "timeoutMs": 1000}
    detail = refused(pod.call("POST", "/v1/executions", changed), 409, "ExecutionIdReused")
    assert "'once'" in detail


def test_answers_fit_the_models(pod: Pod) -> None:
    ended = pod.bash("echo 1; exit 3")
    assert Execution.model_validate(ended).exit_code == 3
    _, capabilities = pod.call("GET", "/v1/capabilities")
    Capabilities.model_validate(capabilities)
    _, page = pod.call("GET", "/v1/journal")
    JournalPage.model_validate(page)


def test_journal_pages() -> None:
    with Pod() as pod:
        for number in range(5):
            pod.bash(f"echo {number}; head -c 5000 /dev/zero | tr '\\0' x; exit {number}")
        _, page = pod.call("GET", "/v1/journal?after=2")
        assert [ended["exitCode"] for ended in page["executions"]] == [2, 3, 4]
        assert page["next"] == 5
        assert {len(ended["stdout"]["tail"]) for ended in page["executions"]} == {2048}
        assert pod.call("GET", "/v1/journal?after=5")[1] == {"executions": [], "next": 5}
        _, page = pod.call("GET", "/v1/journal?after=0&maxOutput=1")
        assert page["executions"][0]["stdout"]["tail"] == "x"


def test_metrics_and_probes_need_no_token(pod: Pod) -> None:
    for path in ("/livez", "/readyz"):
        assert pod.call("GET", path, token="x")[0] == 200
    status, metrics = pod.call("GET", "/metrics", token="x")
    assert status == 200
    assert 'paddock_runtime_executions_total{reason="Exited"}' in metrics
    assert "# TYPE paddock_runtime_executions_running gauge" in metrics
    assert "paddock_runtime_workspace_connected 1" in metrics


def test_a_parameter_that_is_none_is_refused_and_not_ignored(pod: Pod) -> None:
    for path, name in (
        ("/v1/executions/x?Wait=20s", "Wait"),
        ("/v1/executions?after=0&states=Running", "states"),
        ("/v1/journal?max_output=3", "max_output"),
        ("/v1/directories/?page=2", "page"),
    ):
        detail = refused(pod.call("GET", path), 422, "InvalidRequest")
        assert detail.startswith(f"{name}: is no parameter of this call, which takes ")


def test_what_libraries_log_is_one_line_of_json_too(capsys: pytest.CaptureFixture[str]) -> None:
    logger = logging.Logger("aiohttp.server")
    logger.addHandler(logs.LibraryHandler())
    try:
        raise ValueError("two\nlines")
    except ValueError:
        logger.exception("Error handling request\nfrom %s", "127.0.0.1")
    line = json.loads(capsys.readouterr().err)
    assert (line["event"], line["logger"], line["level"]) == ("library", "aiohttp.server", "error")
    assert line["error"] == "ValueError('two\\nlines')"


def test_logs_hold_no_code_output_or_token(pod: Pod) -> None:
    pod.python("print('se' + 'cret-output')  # secret-code", stdin="secret-input")
    log = (pod.base / "runtime.log").read_text()
    assert all(json.loads(line)["event"] for line in log.splitlines())
    assert "secret" not in log
    assert pod.token().split(".")[0] not in log
