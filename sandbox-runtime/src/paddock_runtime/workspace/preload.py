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


MESSAGE_CHARACTERS = 200


def preload(names: Iterable[str]) -> dict[str, str]:
    """Import them. What cannot be imported is returned with the reason, and left to the program
    to find out.

    To be called before the workspace's folder is on the path: what user code wrote there must
    not be imported by the process that every execution is forked from.
    """
    failed = {}
    for name in names:
        try:
            importlib.import_module(name)
        except (Exception, SystemExit) as error:
            failed[name] = f"{type(error).__name__}: {error}"[:MESSAGE_CHARACTERS]
    return failed
