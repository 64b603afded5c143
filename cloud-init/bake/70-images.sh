#!/bin/sh
# Pulls every image that the cluster starts with, so that bringing a lab up needs no internet.
set -eu
# shellcheck source=/dev/null
. /etc/fusionlab/versions.env

kubeadm config images pull --kubernetes-version "v$KUBERNETES"
crictl pull "registry.k8s.io/pause:$PAUSE"
crictl pull "$APPLICATION_IMAGE"
helm template cilium "/opt/fusionlab/charts/cilium-$CILIUM.tgz" --namespace kube-system \
    --kube-version "v$KUBERNETES" --api-versions gateway.networking.k8s.io/v1/GatewayClass \
    --values /opt/fusionlab/bake/cilium-values.yaml |
    sed -n 's/^ *image: *"\{0,1\}\([^" ]*\)"\{0,1\} *$/\1/p' | sort -u >/opt/fusionlab/cilium-images
test -s /opt/fusionlab/cilium-images
while read -r image; do
    crictl pull "$image"
done </opt/fusionlab/cilium-images
