"""Writes the reference of the runtime's HTTP API.

python -m paddock_api.openapi --out docs/reference            write the document and its tables
python -m paddock_api.openapi --out docs/reference --check    exit 1 with a diff where they differ
"""

import argparse
import difflib
import json
import sys
from pathlib import Path

from paddock_api.messages import RUNTIME_PORT
from paddock_api.openapi.document import document
from paddock_api.openapi.tables import tables


def render() -> dict[str, str]:
    """The text of every file by its name."""
    whole = json.dumps(document(), indent=2, sort_keys=True, ensure_ascii=False)
    return {"runtime-openapi.json": whole + "\n", "runtime.md": tables(RUNTIME_PORT)}


def main(arguments: list[str] | None = None) -> int:
    """Write or check the files; 1 where a check found a difference."""
    parser = argparse.ArgumentParser(
        prog="python -m paddock_api.openapi",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--out", type=Path, default=Path("docs/reference"), help="their folder")
    parser.add_argument("--check", action="store_true", help="write nothing, show differences")
    options = parser.parse_args(arguments)
    wanted = render()
    if not options.check:
        options.out.mkdir(parents=True, exist_ok=True)
        for name, text in wanted.items():
            (options.out / name).write_text(text)
        return 0
    differ = False
    for name, after in wanted.items():
        path = options.out / name
        before = path.read_text() if path.exists() else ""
        differ |= before != after
        sys.stdout.writelines(
            difflib.unified_diff(
                before.splitlines(keepends=True),
                after.splitlines(keepends=True),
                fromfile=str(path),
                tofile="generated",
            )
        )
    return int(differ)


if __name__ == "__main__":
    sys.exit(main())
