"""What the workspace needs of PADDOCK_SETTINGS (`paddock_api.messages.SandboxSettings`).

Read without pydantic: user code is forked from this process and must not carry it along.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Settings:
    """Sizes in bytes, times in milliseconds; None is unlimited."""

    network_none: bool
    preload: list[str]
    cpu_time_ms: int | None
    file_bytes: int | None
    concurrency: int
    processes: int
    memory_bytes: int
    disk_bytes: int
    cpu_millis: int
    control_dir: str
    workspace_dir: str
    temporary_dir: str
    runtime_uid: int | None
    path: str


def read_settings(environ: Mapping[str, str] = os.environ) -> Settings:
    """Raises ValueError for text that is not JSON; the operator wrote it, so that is a bug."""
    settings = json.loads(environ.get("PADDOCK_SETTINGS") or "{}")
    limits = settings.get("limits", {})
    uid = environ.get("PADDOCK_RUNTIME_UID")
    return Settings(
        network_none=settings.get("networkNone", True),
        preload=settings.get("preload", []),
        cpu_time_ms=limits.get("cpuTimeMs"),
        file_bytes=limits.get("fileBytes"),
        concurrency=limits.get("concurrency", 4),
        processes=limits.get("processes", 128),
        memory_bytes=limits.get("memoryBytes", 512 << 20),
        disk_bytes=limits.get("diskBytes", 1 << 30),
        cpu_millis=limits.get("cpuMillis", 500),
        control_dir=environ.get("PADDOCK_CONTROL_DIR", "/run/paddock"),
        workspace_dir=environ.get("PADDOCK_WORKSPACE_DIR", "/workspace"),
        temporary_dir=environ.get("PADDOCK_TMP_DIR", "/tmp"),  # noqa: S108
        runtime_uid=int(uid) if uid else None,
        path=environ.get("PATH") or os.defpath,
    )
