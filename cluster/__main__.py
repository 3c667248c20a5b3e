"""Lets the folder be run: ``python3 cluster <verb>`` from any directory."""

import sys
from pathlib import Path

# Running a folder puts the folder itself first on sys.path, where modules named like these could
# shadow others. The parent goes last instead, so the modules are only visible as `cluster.*` and
# no folder of the repository can hide a module of the standard library.
sys.path[:] = [*sys.path[1:], str(Path(__file__).resolve().parent.parent)]

from cluster.cli import main  # noqa: E402

sys.exit(main(sys.argv[1:]))
