"""Generated files: crds/ and docs/reference/ from the models, and the chart's copy of the former.

`--check` only compares.
"""

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CRDS = ROOT / "crds"
CHART = ROOT / "charts" / "paddock" / "files" / "crds"
REFERENCE = ROOT / "docs" / "reference"


def main() -> int:
    """0 when everything is up to date or was written."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    for module, folder in (("paddock_api.crds", CRDS), ("paddock_api.openapi", REFERENCE)):
        command = [sys.executable, "-m", module, "--out", str(folder)]
        if subprocess.run([*command, *(["--check"] if check else [])], check=False).returncode:
            return 1
    return _check_copy() if check else _copy()


def _copy() -> int:
    CHART.mkdir(parents=True, exist_ok=True)
    for old in CHART.glob("*.yaml"):
        old.unlink()
    for crd in CRDS.glob("*.yaml"):
        shutil.copyfile(crd, CHART / crd.name)
    return 0


def _check_copy() -> int:
    ours = {path.name: path.read_bytes() for path in CRDS.glob("*.yaml")}
    chart = {path.name: path.read_bytes() for path in CHART.glob("*.yaml")}
    if ours != chart:
        print("charts/paddock/files/crds differs from crds/: run `make crds`.", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
