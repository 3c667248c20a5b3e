"""The registry: accepts each id once, runs as many as may run at once, knows every end."""

import asyncio
import json
import os
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from paddock_api.messages import Execution, ExecutionRequest, SandboxSettings
from paddock_api.reasons import ExecutionReason as Reason
from paddock_api.reasons import ExecutionState as State
from paddock_runtime import protocol
from paddock_runtime.server import logs
from paddock_runtime.server.control import WorkspaceLink
from paddock_runtime.server.decide import Evidence, decide
from paddock_runtime.server.journal import Journal, Line
from paddock_runtime.server.metrics import Metrics
from paddock_runtime.server.output import Kept, render
from paddock_runtime.server.problems import ProblemError
from paddock_runtime.server.records import (
    End,
    Entry,
    accepted_record,
    digest,
    end_record,
    now,
)
from paddock_runtime.server.running import Run, RunLimits

PENDING_LIMIT = 256
KILL_PATIENCE = 5.0
"""Seconds after which a workspace that does not end an execution is given up."""
RECENT_BYTES = 4 << 20
"""Output of just ended executions that is answered from memory."""
