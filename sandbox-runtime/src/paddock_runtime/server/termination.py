"""What the runtime leaves in its container's termination message. Pure."""

from collections.abc import Sequence

from paddock_api.executions import Execution, TerminationMessage

LONGEST = 4096
"""Bytes; the kubelet cuts what is longer, which would break the JSON."""


def termination_message(
    reason: str,
    uncollected: Sequence[Execution],
    collected: Sequence[Execution] = (),
    beyond: int = 0,
) -> bytes:
    """At most 4096 bytes of JSON.

    Uncollected ends first, oldest first, `dropped` counting those without room and those `beyond`
    the ones that are given. What room is left goes to the newest collected ones: who collected
    them may have died before noting it.
    """
    kept: list[Execution] = []
    for execution in uncollected:
        if len(_encode(reason, [*kept, execution], beyond + len(uncollected))) > LONGEST:
            break
        kept.append(execution)
    dropped = beyond + len(uncollected) - len(kept)
    extra: list[Execution] = []
    if not dropped:
        for execution in reversed(collected):
            if len(_encode(reason, [execution, *extra, *kept], 0)) > LONGEST:
                break
            extra.insert(0, execution)
    together = sorted([*extra, *kept], key=lambda execution: execution.accepted_at)
    return _encode(reason, together, dropped)


def _encode(reason: str, executions: list[Execution], dropped: int) -> bytes:
    message = TerminationMessage(reason=reason, executions=executions, dropped=dropped)
    return message.model_dump_json(by_alias=True, exclude_none=True, exclude_defaults=True).encode()
