#!/bin/sh
# Writes down what is installed now, read off the programs themselves; the host compares it with what it asked for.
set -eu
# shellcheck source=/dev/null
. /etc/fusionlab/versions.env

# Docker's package has another name than the distribution's.
runtime=containerd
if dpkg-query -W containerd.io >/dev/null 2>&1; then runtime=containerd.io; fi
packages=$(
    dpkg-query -W -f '${Package} ${Version}\n' "$runtime" chrony conntrack cri-tools dnsmasq-base keepalived kubeadm kubectl kubelet \
        kubernetes-cni libnginx-mod-stream nginx open-vm-tools openssh-server |
        jq -cRn '[inputs | split(" ") | {(.[0]): .[1]}] | add'
)
jq -cn \
    --arg kubeadm "$(kubeadm version -o short)" \
    --arg kubelet "$(kubelet --version | awk '{ print $2 }')" \
    --arg containerd "$(containerd --version | awk '{ print $3 }')" \
    --arg cilium "$(helm show chart "/opt/fusionlab/charts/cilium-$CILIUM.tgz" | sed -n 's/^version: //p')" \
    --arg gateway_api "$GATEWAY_API" \
    --arg helm "$(helm version --template '{{.Version}}')" \
    --arg nginx "$(nginx -v 2>&1 | sed -n 's|^nginx version: nginx/\([^ ]*\).*|\1|p')" \
    --arg keepalived "$(keepalived --version 2>&1 | sed -n 's/^Keepalived v\([^ ]*\).*/\1/p')" \
    --argjson packages "$packages" \
    '{version: 2, programs: {$kubeadm, $kubelet, $containerd, $cilium, $gateway_api, $helm, $nginx, $keepalived}, $packages}' \
    >/opt/fusionlab/baked.json.new
mv -f /opt/fusionlab/baked.json.new /opt/fusionlab/baked.json
