#!/bin/sh
# Stands in the guest image for fusionlab itself, where there is no world to ask, and for what would act on a kernel.
# By its name, or by the name that helm's own file tells.
set -eu
name=${0##*/}
case ${1:-} in @*)
    name=${1#@}
    name=${name%% *}
    shift 2
    ;;
esac
version() { dpkg-query -W -f '${Version}' "$1" | sed 's/-.*//'; }
case $name in
kubeadm) [ "$1" != version ] || echo "v$(version kubeadm)" ;;
kubelet) echo "Kubernetes v$(version kubelet)" ;;
containerd)
    case $1 in
    --version) echo "containerd github.com/containerd/containerd $(version containerd.io) 0" ;;
    *) printf "version = 3\n  sandbox = 'registry.k8s.io/pause:3.10'\n  SystemdCgroup = false\n" ;;
    esac
    ;;
helm)
    case $1 in
    show) echo "version: $(basename "$3" .tgz | sed 's/^cilium-//')" ;;
    template) printf '        image: "quay.io/cilium/cilium:v1.20.3@sha256:00"\n' ;;
    version) echo v3.18.6 ;;
    esac
    ;;
crictl) [ "$1" != config ] || echo "runtime-endpoint: unix:///run/containerd/containerd.sock" >/etc/crictl.yaml ;;
vmware-rpctool | dmesg | journalctl | poweroff | swapoff | sync) ;;
*)
    echo "no stub for $name" >&2
    exit 127
    ;;
esac
