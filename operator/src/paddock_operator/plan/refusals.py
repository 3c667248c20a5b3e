"""What the schema cannot check because it takes the template: asked for more than it offers.

A refusal ends the session at once (Stalled): a value above a ceiling is never clamped, since
a program that silently gets less than it asked for fails later and elsewhere.
"""

from paddock_api.conditions import ConditionReason as R
from paddock_api.durations import format_duration
from paddock_api.session import AgentSessionSpec
from paddock_api.template import SandboxTemplateSpec
from paddock_operator.plan.evidence import Trouble
from paddock_operator.plan.lifetimes import max_duration_ms


def refusal(spec: AgentSessionSpec, template: SandboxTemplateSpec) -> Trouble | None:
    """The first reason why this template cannot run this session."""
    ceiling = template.lifetime.max_duration_limit.ms
    wanted = max_duration_ms(spec.lifetime, template)
    if wanted > ceiling:
        return Trouble(
            R.DURATION_ABOVE_CEILING,
            f"spec.lifetime.maxDuration is {format_duration(wanted)}, the template's ceiling is "
            f"{format_duration(ceiling)} (lifetime.maxDurationLimit). Create the session again "
            "with less or with another template.",
        )
    for index, step in enumerate(spec.steps):
        where = f"spec.steps[{index}]"
        if step.language is not None and step.language not in template.languages:
            return Trouble(
                R.LANGUAGE_NOT_OFFERED,
                f"{where}.language is {step.language}, the template offers "
                f"{', '.join(template.languages)}. Use one of these or argv.",
            )
        if step.timeout is None:
            continue
        if step.timeout.ms > template.limits.timeout.ms:
            return Trouble(
                R.TIMEOUT_ABOVE_CEILING,
                f"{where}.timeout is {step.timeout}, the template's ceiling is "
                f"{template.limits.timeout} (limits.timeout). Create the session again with less "
                "or with another template.",
            )
        if step.timeout.ms > wanted:
            return Trouble(
                R.TIMEOUT_ABOVE_CEILING,
                f"{where}.timeout is {step.timeout}, longer than the session "
                f"may live ({format_duration(wanted)}). Create it again with less or with a longer "
                "lifetime.maxDuration.",
            )
    return None
