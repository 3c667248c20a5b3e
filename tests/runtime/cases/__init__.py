"""What holds for every sandbox, run against two processes here and against pods of a cluster.

A case is a function that takes a `Box` and, where it is a table, one row of it. A number in its
name is that of the catalogue of things a sandbox runtime is asked to do; the others are called
after what must hold. A case that leaves its sandbox unusable has one of its own.
"""

from tests.runtime.cases import (
    attacks,
    background,
    calls,
    contexts,
    ends,
    exhaustion,
    files,
    image,
    limits,
    output,
    processes,
    programs,
    streams,
)
from tests.runtime.cases.catalogue import ALL, Boxes, Case, opened

__all__ = [
    "ALL",
    "Boxes",
    "Case",
    "attacks",
    "background",
    "calls",
    "contexts",
    "ends",
    "exhaustion",
    "files",
    "image",
    "limits",
    "opened",
    "output",
    "processes",
    "programs",
    "streams",
]
