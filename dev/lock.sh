#!/usr/bin/env bash
# Pins requirements/*.in with hashes. No index is named in the results: the client decides where to look.
set -euo pipefail
cd "$(dirname "$0")/../requirements"
for name in dev operator runtime data; do
  constraint=()
  [ "$name" = dev ] || constraint=(-c dev.txt)
  ../.venv/bin/uv pip compile --quiet --upgrade --generate-hashes --no-emit-index-url --no-header \
    --no-annotate --python-version 3.11 "${constraint[@]}" "$name.in" -o "$name.txt"
done
if grep -l '://' ./*.txt; then echo "a lock file names a host" >&2; exit 1; fi
