"""What messages take from JSON."""

import json

import pytest
from pydantic import ValidationError

from paddock_api.executions import ExecutionRequest
from paddock_api.messages import Configure


def configure(**fields: object) -> Configure:
    whole = {"sessionUid": "s", "expiresInMs": 1000, **fields}
    return Configure.model_validate_json(json.dumps(whole), strict=True)


def test_a_whole_number_may_be_written_with_a_point() -> None:
    assert configure(expiresInMs=1000.0, idleTimeoutMs=5e3).idle_timeout_ms == 5000
    asked = '{"id": "a", "argv": ["true"], "timeoutMs": 200.0}'
    assert ExecutionRequest.model_validate_json(asked, strict=True).timeout_ms == 200


@pytest.mark.parametrize("wrong", [0, -1, 0.5, 2**53 + 2, 10**400, "1000", True])
def test_milliseconds_are_bounded(wrong: object) -> None:
    """More than a float holds was an error of the runtime, not of the request."""
    for field in ("expiresInMs", "idleTimeoutMs"):
        with pytest.raises(ValidationError, match=field):
            configure(**{field: wrong})
