#!/usr/bin/env bash
# Waits until a function that is made from now on learns the broker's address, K_SINK, as it is made. One without ends at once, and
# is made again when its SinkBinding finds it: a first deployment would show functions that crash.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

kube=(kubectl)
if [[ -n "${SKAFFOLD_KUBE_CONTEXT:-}" ]]; then
  kube+=(--context "$SKAFFOLD_KUBE_CONTEXT")
fi

"${kube[@]}" -n regrove wait brokers.eventing.knative.dev default --for=condition=Ready --timeout=300s

# Asks what would become of the functions, and makes none: Knative's webhook learns of SinkBindings in its own time.
for attempt in {1..60}; do
  if would_be="$("${kube[@]}" apply --dry-run=server --kustomize ../functions --output json)"; then
    functions="$(grep -c '"kind": "Service"' <<<"$would_be" || true)"
    told="$(grep -c '"name": "K_SINK"' <<<"$would_be" || true)"
    if [[ "$functions" -gt 0 && "$told" -eq "$functions" ]]; then
      exit 0
    fi
  fi
  sleep "$((attempt < 10 ? 1 : 2))"
done
# Where webhooks look only at namespaces that ask for it, SinkBindings find their functions afterwards.
echo "functions do not learn the broker's address as they are made; they are made again when they do" >&2
