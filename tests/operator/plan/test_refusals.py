"""Asked for more than the template offers: refused with the field and the way out."""

from typing import Any

import pytest
from tests.operator.objects import session, step

from paddock_api.conditions import ConditionReason as R
from paddock_api.session import AgentSessionSpec
from paddock_api.template import SandboxTemplateSpec
from paddock_operator.plan.refusals import max_duration_ms, refusal

TEMPLATE = SandboxTemplateSpec.read(
    {
        "languages": ["python"],
        "limits": {"timeout": "30s"},
        "lifetime": {"maxDuration": "1m", "maxDurationLimit": "1h"},
    }
)


def spec(*steps: Any, max_duration: str | None = None) -> AgentSessionSpec:
    return AgentSessionSpec.read(session(*steps, max_duration=max_duration)["spec"])


@pytest.mark.parametrize(
    ("asked", "reason", "words"),
    [
        pytest.param(spec(), None, (), id="silent"),
        pytest.param(spec(step()), None, (), id="plain step"),
        pytest.param(spec(max_duration="1h"), None, (), id="the ceiling itself"),
        pytest.param(
            spec(max_duration="1h1ms"),
            R.DURATION_ABOVE_CEILING,
            ("maxDuration is 1h1ms", "ceiling is 1h", "maxDurationLimit", "with less"),
            id="above the ceiling",
        ),
        pytest.param(
            spec(step(), step("second", language="bash")),
            R.LANGUAGE_NOT_OFFERED,
            ("spec.steps[1].language is bash", "offers python", "argv"),
            id="language",
        ),
        pytest.param(spec(step(argv=["bash", "-c", "true"])), None, (), id="argv is free"),
        pytest.param(spec(step(timeout="30s")), None, (), id="the timeout's ceiling itself"),
        pytest.param(
            spec(step(timeout="31s")),
            R.TIMEOUT_ABOVE_CEILING,
            ("spec.steps[0].timeout is 31s", "ceiling is 30s", "limits.timeout", "with less"),
            id="timeout",
        ),
        pytest.param(
            spec(step(timeout="20s"), max_duration="10s"),
            R.TIMEOUT_ABOVE_CEILING,
            ("spec.steps[0].timeout is 20s", "(10s)", "longer lifetime.maxDuration"),
            id="timeout beyond the session's own life",
        ),
    ],
)
def test_each_refusal_names_the_field_and_the_way_out(
    asked: AgentSessionSpec, reason: R | None, words: tuple[str, ...]
) -> None:
    refused = refusal(asked, TEMPLATE)
    assert (refused.reason if refused else None) is reason
    for word in words:
        assert refused is not None
        assert word in refused.message


def test_a_timeout_beyond_the_templates_default_life_is_refused_too() -> None:
    short = SandboxTemplateSpec.read({"lifetime": {"maxDuration": "10s"}})
    refused = refusal(spec(step(timeout="20s")), short)
    assert refused is not None
    assert refused.reason is R.TIMEOUT_ABOVE_CEILING


def test_a_silent_session_lives_as_long_as_the_template_says() -> None:
    assert max_duration_ms(spec().lifetime, TEMPLATE) == 60_000
    assert max_duration_ms(spec(max_duration="10s").lifetime, TEMPLATE) == 10_000
