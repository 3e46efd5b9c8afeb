#!/usr/bin/env bash
# Installs Knative Serving with Kourier and Knative Eventing, in the order that their webhooks need, and waits
# for each. Where this release runs already it only says the settings again. Left in place by `skaffold delete`: other
# projects may use them.
set -euo pipefail

version="${KNATIVE_VERSION:-knative-v1.22.0}"
serving="https://github.com/knative/serving/releases/download/$version"
kourier="https://github.com/knative-extensions/net-kourier/releases/download/$version"
eventing="https://github.com/knative/eventing/releases/download/$version"

kube=(kubectl)
if [[ -n "${SKAFFOLD_KUBE_CONTEXT:-}" ]]; then
  kube+=(--context "$SKAFFOLD_KUBE_CONTEXT")
fi

available() { # namespace
  "${kube[@]}" -n "$1" wait deployment --all --for=condition=Available --timeout=300s
}
established() {
  "${kube[@]}" wait customresourcedefinition --all --for=condition=Established --timeout=60s
}
setting() { # ConfigMap key value
  "${kube[@]}" -n knative-serving patch configmap "$1" --type merge --patch "{\"data\":{\"$2\":\"$3\"}}"
}
runs() { # namespace deployment…: whether all of them are of this release and available, without waiting
  local release='jsonpath={.metadata.labels.app\.kubernetes\.io/version}'
  "${kube[@]}" -n "$1" wait deployment "${@:2}" --for="$release=${version#knative-v}" --timeout=0s &&
    "${kube[@]}" -n "$1" wait deployment "${@:2}" --for=condition=Available --timeout=0s
}
installed() {
  runs knative-serving activator autoscaler controller webhook net-kourier-controller &&
    runs kourier-system 3scale-kourier-gateway &&
    runs knative-eventing eventing-controller eventing-webhook imc-controller imc-dispatcher \
      mt-broker-controller mt-broker-filter mt-broker-ingress
}
settings() {
  setting config-network ingress-class kourier.ingress.networking.knative.dev
  # http://<service>.<namespace>.localhost:8000, as in the local runtime, or a domain of one's own.
  setting config-domain "${REGROVE_DOMAIN:-localhost}" ""
  # Images that skaffold built into the cluster have no registry to ask for a digest.
  setting config-deployment registries-skipping-tag-resolving "index.docker.io,kind.local,ko.local,dev.local"
}

# `skaffold dev` comes by here after each change.
if installed >/dev/null 2>&1; then
  settings
  exit 0
fi

"${kube[@]}" apply -f "$serving/serving-crds.yaml"
established
"${kube[@]}" apply -f "$serving/serving-core.yaml"
"${kube[@]}" apply -f "$kourier/kourier.yaml"
available knative-serving
available kourier-system
settings

"${kube[@]}" apply -f "$eventing/eventing-crds.yaml"
established
"${kube[@]}" apply -f "$eventing/eventing-core.yaml"
available knative-eventing
"${kube[@]}" apply -f "$eventing/in-memory-channel.yaml"
"${kube[@]}" apply -f "$eventing/mt-channel-broker.yaml"
available knative-eventing
