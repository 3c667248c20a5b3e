#!/usr/bin/env bash
# Puts Paddock on the local cluster by Helm; does nothing when exactly this is installed already.
set -euo pipefail
cd "$(dirname "$0")/.."
PATH="$(python3 cluster bin):$PATH"
KUBECONFIG="$(python3 cluster kubeconfig)"
export PATH KUBECONFIG
namespace=paddock-system

# image PART: the chart's values for one image; a reference is registry/repository:tag.
image() { local name=${ref[$1]#*/}; echo "$1.image.registry=${ref[$1]%%/*},$1.image.repository=${name%:*},$1.image.tag=${name##*:}"; }

declare -A ref tar
images=$(python3 images list)
while read -r name value; do
  ref[${name%%=*}]=${name#*=}
  tar[${name%%=*}]=$value
done <<< "$images"
want=$( (find charts/paddock -type f | LC_ALL=C sort | xargs sha256sum; echo "${ref[operator]}" "${ref[runtime]}") | sha256sum | cut -c1-16)
have=$(helm history paddock -n "$namespace" --max 1 -o json 2> /dev/null | python3 -c '
import json, sys
try:
    last = json.load(sys.stdin)[-1]
    print(last["description"] if last["status"] == "deployed" else "")
except (ValueError, IndexError):
    print("")' || true)
if [ "$have" = "inputs $want" ] && kubectl -n "$namespace" rollout status deployment/paddock-operator --timeout=30s > /dev/null 2>&1; then
  echo "── install: this version is there already"
  exit 0
fi
echo "── install: loading images, helm upgrade --install (about 20 s) …"
begun=$SECONDS
python3 cluster load "${tar[operator]}" "${tar[runtime]}"
kubectl get namespace "$namespace" > /dev/null 2>&1 || kubectl create namespace "$namespace"
kubectl label --overwrite namespace "$namespace" pod-security.kubernetes.io/enforce=restricted > /dev/null
# One replica: the end-to-end tests kill the operator, and a second one would take over what they look at.
helm upgrade --install paddock charts/paddock -n "$namespace" --wait --timeout 2m --description "inputs $want" \
  --set operator.replicas=1 --set-string "$(image operator),$(image runtime)" > /dev/null
echo "── install: ok, $((SECONDS - begun)) s"
