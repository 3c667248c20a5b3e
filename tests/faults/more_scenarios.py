"""The rows that only `make faults` runs: slow ones, and those that cost the cluster something."""

from tests.faults import batch, disasters, scripts
from tests.faults.faults import (
    Answer,
    Drop,
    Hangup,
    Kill,
    Late,
    Rule,
    Silence,
    always,
    chance,
    every,
    first,
    only,
)
from tests.faults.scenario import Scenario
from tests.faults.scripts import EVENTS, STALE_READS
from tests.faults.vocabulary import (
    CREATE,
    DELETED,
    DENIED,
    EARLY,
    LATE,
    LOST,
    OBJECTS,
    PATCH,
    PODS,
    gone,
)

UNTOLD = Scenario(
    "pod-lost-while-no-status-can-be-written",
    "429, 5xx storm / pod lost before the first dispatch",
    (Rule(Answer(503, "ServiceUnavailable"), verbs=PATCH),),
    script=disasters.delete_pod_untold,
    sessions=(batch.LONG,),
    besides=EARLY,
)
POD_DELETED = Scenario(
    "pod-deleted-unseen",
    "events dropped; DELETE missed / pod lost while the operator is down",
    script=disasters.delete_pod_unseen,
    sessions=(batch.HELLO, batch.LONG),
    ends={"long": LOST},
)

MORE: tuple[Scenario, ...] = (
    Scenario(
        "killed-before-every-fourth-write",
        "operator kill -9 before/after each write",
        (Rule(Kill(done=False), every(4), counted=True),),
    ),
    Scenario(
        "kill-loop",
        "kill loop (every 3–10 s for 5 min) under load",
        script=scripts.kill_loop(25),
        sessions=batch.LOAD,
        within=120,
    ),
    Scenario("two-at-once", "two operators at once", script=scripts.two_at_once),
    Scenario(
        "paused-and-resumed",
        "two operators at once; old one paused (SIGSTOP) then resumed",
        script=scripts.paused_and_resumed,
        environment={"PADDOCK_LEASE_DURATION_S": "3"},
    ),
    Scenario(
        "api-server-restarts",
        "API server restart; all watches cut",
        script=scripts.server_restarts,
    ),
    Scenario(
        "pods-watch-silent",
        "watch silent but TCP open",
        (Rule(Silence(), only(6), events=EVENTS, resources=PODS),),
        within=150,
    ),
    Scenario(
        "all-watches-silent",
        "watch silent but TCP open",
        (Rule(Silence(), always, events=EVENTS, resources=OBJECTS),),
        script=scripts.for_a_while(60),
        within=150,
    ),
    Scenario(
        "deletes-missed",
        "events dropped; DELETE missed",
        (Rule(Drop(), always, events=DELETED),),
    ),
    Scenario(
        "echo-late",
        "stale LIST/GET, echo delayed > 5 s",
        (Rule(Late(6), events=EVENTS),),
        within=90,
    ),
    Scenario(
        "stale-reads-after-a-restart",
        "stale LIST/GET, echo delayed > 5 s",
        script=scripts.stale_after_restart(STALE_READS, seconds=8),
        sessions=(*batch.QUICK, batch.PATIENT),
    ),
    Scenario(
        "server-errors",
        "429, 5xx storm, latency, timeout after success",
        (Rule(Answer(503, "ServiceUnavailable"), chance(0.5)),),
        from_start=False,
        within=120,
    ),
    Scenario(
        "hang-ups",
        "429, 5xx storm, latency, timeout after success",
        (Rule(Hangup(), chance(0.3)),),
        from_start=False,
        within=120,
    ),
    Scenario(
        "slower-than-the-timeout",
        "30 s latency, timeout after success",
        (Rule(Late(30), every(7), counted=True),),
        within=150,
    ),
    Scenario(
        "forbidden-for-a-while",
        "403: RBAC removed",
        (Rule(DENIED, verbs=CREATE | PATCH | frozenset({"get", "list", "delete"})),),
        script=scripts.for_a_while(6),
        within=120,
        waits=False,
    ),
    Scenario(
        "pods-forbidden",
        "403: RBAC removed",
        (Rule(DENIED, first(8), verbs=CREATE, resources=PODS),),
        within=90,
    ),
    Scenario(
        "quota-used-up",
        "403: quota exceeded",
        prepare=disasters.make_quota,
        script=disasters.quota,
        sessions=batch.QUICK,
        within=90,
    ),
    Scenario(
        "admission-down",
        "admission webhook down",
        prepare=disasters.make_webhook,
        script=disasters.admission_down,
        sessions=batch.QUICK,
        within=90,
    ),
    Scenario(
        "namespace-deleted",
        "403: namespace terminating / namespace deleted",
        script=disasters.delete_namespace,
        keeps=False,
    ),
    Scenario(
        "namespace-deleted-without-operator",
        "uninstall with operator removed first",
        script=disasters.delete_namespace_without_operator,
        keeps=False,
        within=90,
    ),
    *(
        Scenario(
            f"clock-{seconds:+d}s",
            "clock skew operator/pod within what tokens allow",
            clock_skew_s=seconds,
            sessions=batch.QUICK,
        )
        for seconds in (20, -20)
    ),
    *(
        Scenario(
            f"clock-{seconds:+d}s",
            "clock skew ±5 min operator/pod, put right later",
            script=scripts.put_the_clock_right,
            clock_skew_s=seconds,
            sessions=batch.QUICK,
        )
        for seconds in (300, -300)
    ),
    UNTOLD,
    POD_DELETED,
    Scenario(
        "pod-deleted",
        "pod lost",
        script=disasters.delete_pod,
        sessions=(batch.HELLO, batch.LONG),
        ends={"long": LOST},
    ),
    Scenario(
        "pod-evicted",
        "pod evicted, node drained",
        script=disasters.evict_pod,
        sessions=(batch.HELLO, batch.LONG),
        ends={"long": LOST},
        within=90,
    ),
    Scenario(
        "pod-deleted-early",
        "pod lost before the first dispatch",
        script=disasters.delete_early,
        sessions=(batch.HELLO, batch.LONG),
        besides=EARLY,
        within=90,
    ),
    Scenario(
        "node-frozen",
        "node loss (NotReady, pod stuck)",
        script=disasters.freeze_kubelet,
        sessions=batch.QUICK,
        within=120,
    ),
    Scenario(
        "crds-deleted-first",
        "CRD deleted first",
        script=disasters.delete_crds,
        sessions=(batch.HELLO, batch.LONG),
        ends={"long": gone},
        destructive=True,
        within=150,
    ),
    Scenario(
        "recreated-under-its-name",
        "CR deleted while creating / executing; recreated with same name at once",
        script=disasters.recreate,
        sessions=batch.QUICK,
    ),
    Scenario(
        "lifetime-shortened",
        "spec edited mid-run, TTL shortened",
        script=disasters.shorten,
        sessions=(batch.HELLO, batch.LONG),
        ends={"long": LATE},
        within=90,
    ),
    Scenario(
        "down-at-the-deadline",
        "operator down while a lifetime ends",
        script=disasters.down_at_the_deadline,
        sessions=(batch.HELLO, batch.SHORT_LIVED),
        ends={"short-lived": LATE},
    ),
)
