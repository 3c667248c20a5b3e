"""multiprocessing by spawn and forkserver: a new interpreter that imports the program's file.

There is none, and workers that cannot import it die and are started again for ever. So the
program is written into one when the first of them is started.
"""

import atexit
import linecache
import os
import shutil
import sys
import tempfile
from multiprocessing import spawn
from typing import Any

_get_data = spawn.get_preparation_data
_written: dict[str, str] = {}


def provide_source(name: str) -> None:
    """For a program whose lines linecache holds under `name`. In the fork server."""

    source = name

    def get_data(name: str) -> dict[str, Any]:
        data: dict[str, Any] = _get_data(name)
        file = getattr(sys.modules["__main__"], "__file__", None)
        ours = source in linecache.cache and file is not None
        if ours and data.get("init_main_from_path") == file:
            data["init_main_from_path"] = _path(source)
        return data

    spawn.get_preparation_data = get_data


def _path(name: str) -> str:
    if name not in _written:
        directory = tempfile.mkdtemp(prefix="paddock-main-")
        atexit.register(_remove, directory, os.getpid())
        _written[name] = f"{directory}/{name}"
        with open(_written[name], "w", encoding="utf-8") as file:  # noqa: PTH123
            file.writelines(linecache.getlines(name))
    return _written[name]


def _remove(directory: str, pid: int) -> None:
    if os.getpid() == pid:
        shutil.rmtree(directory, ignore_errors=True)
