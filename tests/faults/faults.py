"""The faults that the proxy can do, as data; a scenario is a tuple of rules.

A rule says which requests (or which events of a watch) it is about, which of them by their
ordinal it hits, and what it does to those. The first rule that hits wins.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.faults.requests import Request

Json = dict[str, Any]
When = Callable[[int, random.Random], bool]
"""Whether the n-th match is hit, from 1."""


def always(_: int, __: random.Random) -> bool:
    """Every match."""
    return True


def every(step: int) -> When:
    """Each `step`-th match."""
    return lambda ordinal, _: ordinal % step == 0


def first(count: int) -> When:
    """The first `count` matches."""
    return lambda ordinal, _: ordinal <= count


def only(ordinal: int) -> When:
    """One match."""
    return lambda seen, _: seen == ordinal


def chance(share: float) -> When:
    """A share of the matches, by the scenario's seed."""
    return lambda _, dice: dice.random() < share


# What is done to a request.


@dataclass(frozen=True, slots=True)
class Answer:
    """Answered by the proxy; the API server never hears of it."""

    status: int
    reason: str
    message: str = "a fault was injected"
    retry_after: int | None = None
    details: Json = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Hangup:
    """The connection is closed without an answer. `done`: the request was carried out first."""

    done: bool = False


@dataclass(frozen=True, slots=True)
class Late:
    """Forwarded after so many seconds; of a watch, this event and all behind it wait."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Stale:
    """Lists and gets are answered from the snapshot that the scenario took (Proxy.snapshot)."""


@dataclass(frozen=True, slots=True)
class Kill:
    """SIGKILL to the operator, before the request is forwarded or after it was carried out."""

    done: bool


# What is done to an event of a watch.


@dataclass(frozen=True, slots=True)
class Drop:
    """The event never arrives."""


@dataclass(frozen=True, slots=True)
class Twice:
    """The event arrives twice."""


@dataclass(frozen=True, slots=True)
class Swap:
    """The event arrives after the next one, or after a second if there is none."""


@dataclass(frozen=True, slots=True)
class Cut:
    """The watch ends here; `gone` says 410 first, as after a compaction."""

    gone: bool = False


@dataclass(frozen=True, slots=True)
class Silence:
    """The connection stays open and not a byte comes any more."""


OnRequest = Answer | Hangup | Late | Stale | Kill
OnEvent = Drop | Twice | Swap | Cut | Silence | Late


@dataclass(frozen=True, slots=True)
class Rule:
    """`verbs` and `resources` empty: any. `events` set: the rule is about events of watches."""

    fault: OnRequest | OnEvent
    when: When = always
    verbs: frozenset[str] = frozenset()
    resources: frozenset[str] = frozenset()
    events: frozenset[str] = frozenset()
    """ADDED, MODIFIED, DELETED, BOOKMARK."""
    counted: bool = False
    """Only writes that a session costs."""

    def about(self, request: Request) -> bool:
        """Whether it is about this request; never about a watch, whose events have rules."""
        if self.events or (request.verb == "watch" and "watch" not in self.verbs):
            return False
        if self.counted and not request.counted:
            return False
        return self._names(request)

    def about_event(self, watch: Request, event: str) -> bool:
        """Whether it is about this type of event of this watch."""
        return event in self.events and self._names(watch)

    def _names(self, request: Request) -> bool:
        if self.resources and request.resource not in self.resources:
            return False
        return not self.verbs or request.verb in self.verbs

    @property
    def name(self) -> str:
        """The kind of fault, for the report."""
        fault = self.fault
        match fault:
            case Answer():
                return f"answer {fault.status}"
            case Hangup():
                return "done but no answer" if fault.done else "hang-up"
            case Kill():
                return f"kill {'after' if fault.done else 'before'} a write"
            case Cut():
                return "watch 410" if fault.gone else "watch cut"
            case Late() if self.events:
                return "event late"
            case Late():
                return "latency"
            case Stale():
                return "stale read"
            case Silence():
                return "watch silenced"
            case _:
                return f"event {type(fault).__name__.lower()}"


class Armed:
    """Rules at work: counts their matches and decides by ordinal and dice."""

    def __init__(self, rules: tuple[Rule, ...], dice: random.Random) -> None:
        self._rules = [(rule, [0]) for rule in rules]
        self._dice = dice

    def on_request(self, request: Request) -> Rule | None:
        """The rule that hits this request."""
        return self._hit(lambda rule: rule.about(request))

    def on_event(self, watch: Request, event: str) -> Rule | None:
        """The rule that hits this event."""
        return self._hit(lambda rule: rule.about_event(watch, event))

    def _hit(self, about: Callable[[Rule], bool]) -> Rule | None:
        for rule, ordinal in self._rules:
            if about(rule):
                ordinal[0] += 1
                if rule.when(ordinal[0], self._dice):
                    return rule
        return None
