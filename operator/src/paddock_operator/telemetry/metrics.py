"""Every metric of the operator, declared here and nowhere else.

Names and buckets follow Prometheus' rules: seconds, `_total`, bounded labels, never a user,
session or pod. The reconcile and queue metrics carry controller-runtime's names, so common
dashboards and alerts work.
"""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

REGISTRY = CollectorRegistry()
_START = (0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1, 1.5, 2, 3, 5, 10, 30, 60, 240)
_RUN = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800)
_FAST = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5)

BUILD_INFO = Gauge("paddock_build_info", "Always 1.", ["version"], registry=REGISTRY)
RECONCILE = Counter(
    "controller_runtime_reconcile_total",
    "Reconciles by kind and result (success, error, conflict).",
    ["controller", "result"],
    registry=REGISTRY,
)
RECONCILE_SECONDS = Histogram(
    "controller_runtime_reconcile_time_seconds",
    "Time of one reconcile, API requests included.",
    ["controller"],
    buckets=_FAST,
    registry=REGISTRY,
)
QUEUE_DEPTH = Gauge(
    "workqueue_depth", "Keys waiting to be reconciled.", ["name"], registry=REGISTRY
)
QUEUE_RETRIES = Counter(
    "workqueue_retries_total", "Keys put back after an error.", ["name"], registry=REGISTRY
)
WRITES = Counter(
    "paddock_api_writes_total",
    "Mutating requests to the API server, Events apart.",
    ["verb", "kind", "result"],
    registry=REGISTRY,
)
SESSIONS_FINISHED = Counter(
    "paddock_sessions_finished_total", "Sessions ended.", ["reason"], registry=REGISTRY
)
SESSION_START = Histogram(
    "paddock_session_start_duration_seconds",
    "From a session's creation to its sandbox answering.",
    ["launch"],
    buckets=_START,
    registry=REGISTRY,
)
EXECUTIONS = Counter(
    "paddock_executions_total",
    "Steps that ended, by the runtime's reason.",
    ["reason"],
    registry=REGISTRY,
)
EXECUTION_SECONDS = Histogram(
    "paddock_execution_duration_seconds",
    "Wall clock of steps, as the runtime measured it.",
    buckets=_RUN,
    registry=REGISTRY,
)
RUNTIME_REQUESTS = Counter(
    "paddock_runtime_requests_total",
    "Requests to runtimes by route and outcome (HTTP status or error).",
    ["route", "outcome"],
    registry=REGISTRY,
)
LEADER = Gauge(
    "paddock_leader",
    "1 in the process that holds the lease, 0 in one that stands by.",
    registry=REGISTRY,
)
OBJECTS = Gauge("paddock_objects", "Objects in the operator's store.", ["kind"], registry=REGISTRY)


def exposition() -> bytes:
    """The text format of all metrics."""
    return generate_latest(REGISTRY)
