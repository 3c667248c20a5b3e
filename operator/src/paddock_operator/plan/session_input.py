"""What an AgentSession's plan may look at."""

from collections.abc import Mapping
from dataclasses import dataclass

from paddock_api.executions import Execution
from paddock_api.template import SandboxTemplateSpec
from paddock_operator.plan.evidence import Trouble
from paddock_operator.plan.views import ObjectView, PodView


@dataclass(frozen=True, slots=True)
class Refused:
    """The runtime understood and refused: asking again would not help."""

    code: str
    detail: str


@dataclass(frozen=True, slots=True)
class SessionObserved:
    """Everything a session's plan may look at."""

    session: ObjectView
    template: SandboxTemplateSpec | Trouble
    sandbox: ObjectView | None
    """Whatever has our child's name, whoever owns it."""
    pod: PodView | None
    """The pod whose controller is that sandbox."""
    gone: PodView | None
    """The pod that its status names, as it was when it went."""
    answering: bool
    """Whether the runtime of exactly this pod has answered /readyz to this process."""
    results: Mapping[str, Execution | Refused]
    """What runtimes answered to this process, by execution id ('' = configure refused)."""
    trouble: Trouble | None = None
    """What the last attempt to create the sandbox was answered."""
