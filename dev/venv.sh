#!/usr/bin/env bash
# Makes .venv from hash-pinned wheels; does nothing when it is there and current.
set -euo pipefail
cd "$(dirname "$0")/.."
stamp=.venv/paddock-stamp
want=$(cat requirements/dev.txt api/pyproject.toml operator/pyproject.toml sandbox-runtime/pyproject.toml dev/venv.sh <(pwd) <(python3 -V) | sha256sum)
[ -f "$stamp" ] && [ "$(cat "$stamp")" = "$want" ] && exit 0
python3 - <<'PY' || { echo "Paddock needs Python 3.11 or newer as python3; install it (Debian: apt-get install python3)." >&2; exit 1; }
import sys
sys.exit(sys.version_info < (3, 11))
PY
echo "── virtual environment: installing hash-pinned packages (about 1 min the first time) …"
begun=$SECONDS
if ! python3 -m venv --clear .venv > .venv.log 2>&1; then
  if command -v apt-get > /dev/null && [ "$(id -u)" = 0 ]; then
    apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install -y python3-venv > .venv.log 2>&1
    python3 -m venv --clear .venv
  else
    cat .venv.log >&2
    echo "python3 -m venv does not work; install your distribution's python3-venv." >&2
    exit 1
  fi
fi
rm -f .venv.log
.venv/bin/pip install --quiet --require-hashes -r requirements/dev.txt
.venv/bin/pip install --quiet --no-build-isolation --no-deps -e api -e operator -e sandbox-runtime
echo "$want" > "$stamp"
echo "── virtual environment: ok, $((SECONDS - begun)) s"
