"""Modules imported before the fork, so that an execution finds them ready.

Only what agent code imports often and what costs little memory: every page of the fork server is
copied into each child's page table. Nothing here reads the environment when imported.
"""

import importlib
from collections.abc import Iterable

STANDARD = """
    argparse ast asyncio base64 bisect collections contextlib copy csv dataclasses datetime
    decimal enum fractions functools glob hashlib heapq inspect io itertools json logging math
    operator os pathlib pickle random re shutil socket statistics string struct subprocess sys
    tempfile textwrap threading time traceback types typing urllib.parse uuid zoneinfo
"""


def preload(names: Iterable[str]) -> list[str]:
    """Import them; what cannot be imported is returned and left to the program to find out."""
    missing = []
    for name in names:
        try:
            importlib.import_module(name)
        except Exception:
            missing.append(name)
    return missing
