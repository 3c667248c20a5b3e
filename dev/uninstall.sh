#!/usr/bin/env bash
# Removes the chart's release from the local cluster.
set -euo pipefail
cd "$(dirname "$0")/.."
PATH="$(python3 cluster bin):$PATH" KUBECONFIG="$(python3 cluster kubeconfig)" helm uninstall paddock -n paddock-system --wait
