#!/bin/sh
# Fetches Cilium's chart and the Gateway API's definitions.
set -eu
# shellcheck source=/dev/null
. /etc/fusionlab/versions.env

mkdir -p /opt/fusionlab/charts /opt/fusionlab/gateway-api
curl -fsSL --retry 5 -o "/opt/fusionlab/charts/cilium-$CILIUM.tgz" "https://helm.cilium.io/cilium-$CILIUM.tgz"
helm show chart "/opt/fusionlab/charts/cilium-$CILIUM.tgz" | grep -qx "version: $CILIUM"

definitions=/opt/fusionlab/gateway-api/standard-install.yaml
curl -fsSL --retry 5 -o "$definitions" \
    "https://github.com/kubernetes-sigs/gateway-api/releases/download/v$GATEWAY_API/standard-install.yaml"
grep -q "gateway.networking.k8s.io/bundle-version: v$GATEWAY_API" "$definitions"
