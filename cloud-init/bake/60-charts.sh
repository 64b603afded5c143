#!/bin/sh
# Fetches Cilium's chart and the Gateway API's definitions.
set -eu
# shellcheck source=/dev/null
. /etc/fusionlab/versions.env

mkdir -p /opt/fusionlab/charts /opt/fusionlab/gateway-api
curl -fsSL --retry 5 -o "/opt/fusionlab/charts/cilium-$CILIUM.tgz" "https://helm.cilium.io/cilium-$CILIUM.tgz"
helm show chart "/opt/fusionlab/charts/cilium-$CILIUM.tgz" | grep -qx "version: $CILIUM"

# Before 1.5 the standard channel lacks TLSRoute, which Cilium wants.
channel=standard
if dpkg --compare-versions "$GATEWAY_API" lt 1.5; then
    channel=experimental
fi
definitions=/opt/fusionlab/gateway-api/standard-install.yaml
curl -fsSL --retry 5 -o "$definitions" \
    "https://github.com/kubernetes-sigs/gateway-api/releases/download/v$GATEWAY_API/$channel-install.yaml"
grep -q "gateway.networking.k8s.io/bundle-version: v$GATEWAY_API" "$definitions"
