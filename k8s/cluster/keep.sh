#!/usr/bin/env bash
# Makes what is to outlive `skaffold delete` and the end of `skaffold dev`, unless it exists: the namespace, whose deletion would
# take Redis' claim along; MLflow's claim; the Secrets, with a random Redis password and console token. Nothing secret is in the
# repository, on a command line, or in the output. To use a Redis of your own, make `regrove-secrets`
# yourself before the first deployment, and set REDIS_URL in k8s/functions/kustomization.yaml. The Secret's keys, all optional:
# REDIS_USERNAME, REDIS_PASSWORD; REGROVE_TOKEN; MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

kube=(kubectl)
if [[ -n "${SKAFFOLD_KUBE_CONTEXT:-}" ]]; then
  kube+=(--context "$SKAFFOLD_KUBE_CONTEXT")
fi

"${kube[@]}" apply -f namespace.yaml
"${kube[@]}" apply -f mlflow-claim.yaml

if ! "${kube[@]}" -n regrove get secret redis-auth -o name --ignore-not-found | grep -q .; then
  # Hexadecimal: safe in a URL and in redis.conf.
  password="$(head -c 32 /dev/urandom | od -An -vtx1 | tr -d ' \n')"
  "${kube[@]}" create -f - <<MANIFEST
apiVersion: v1
kind: Secret
metadata:
  name: redis-auth
  namespace: regrove
stringData:
  password: "$password"
  auth.conf: requirepass $password
MANIFEST
fi

if ! "${kube[@]}" -n regrove get secret regrove-secrets -o name --ignore-not-found | grep -q .; then
  password="$("${kube[@]}" -n regrove get secret redis-auth -o jsonpath='{.data.password}' | base64 --decode)"
  "${kube[@]}" create -f - <<MANIFEST
apiVersion: v1
kind: Secret
metadata:
  name: regrove-secrets
  namespace: regrove
stringData:
  REDIS_PASSWORD: "$password"
  REGROVE_TOKEN: "$(head -c 32 /dev/urandom | od -An -vtx1 | tr -d ' \n')"
MANIFEST
fi
