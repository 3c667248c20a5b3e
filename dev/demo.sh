#!/usr/bin/env bash
# The main job as a user sees it: apply a session, wait, read the result. Expects `make install`.
set -euo pipefail
cd "$(dirname "$0")/.."
PATH="$(python3 cluster bin):$PATH"
KUBECONFIG="$(python3 cluster kubeconfig)"
export PATH KUBECONFIG
namespace=paddock-demo

say() { printf '\n$ %s\n' "$*"; "$@"; }
kubectl get namespace "$namespace" > /dev/null 2>&1 || kubectl create namespace "$namespace" > /dev/null
kubectl label --overwrite namespace "$namespace" pod-security.kubernetes.io/enforce=restricted > /dev/null
kubectl delete agentsession hello -n "$namespace" --ignore-not-found > /dev/null
say kubectl apply -n "$namespace" -f examples/hello.yaml
say kubectl wait -n "$namespace" --for=condition=Finished agentsession/hello --timeout=120s
say kubectl get agentsessions -n "$namespace"
say kubectl get agentsession hello -n "$namespace" -o jsonpath='{range .status.steps[*]}step={.name} reason={.reason} exitCode={.exitCode} durationMs={.durationMs} stdout={.stdoutTail}{end}'
kubectl get agentsession hello -n "$namespace" -o jsonpath='{.status.phase}' | grep -qx Succeeded ||
  { echo "the session did not succeed; see: kubectl describe agentsession hello -n $namespace" >&2; exit 1; }
printf '\nTo go on by hand: export KUBECONFIG=%s PATH=%s:$PATH\n' "$KUBECONFIG" "$(python3 cluster bin)"
