#!/bin/sh
# Installs kubeadm, kubelet and kubectl of the pinned version from the repository of its minor, and holds them.
set -eu
# shellcheck source=/dev/null
. /etc/fusionlab/versions.env
export DEBIAN_FRONTEND=noninteractive

keyring=/etc/apt/keyrings/kubernetes.gpg
repository="https://pkgs.k8s.io/core:/stable:/v$KUBERNETES_MINOR/deb/"
mkdir -p /etc/apt/keyrings
curl -fsSL --retry 5 "${repository}Release.key" | gpg --batch --yes --dearmor -o "$keyring"
echo "deb [signed-by=$keyring] $repository /" >/etc/apt/sources.list.d/kubernetes.list
apt-get update -q
apt-get install -q -y --allow-change-held-packages \
    "kubeadm=$KUBERNETES-*" "kubelet=$KUBERNETES-*" "kubectl=$KUBERNETES-*" cri-tools kubernetes-cni
apt-mark hold kubeadm kubelet kubectl
crictl config --set runtime-endpoint=unix:///run/containerd/containerd.sock
