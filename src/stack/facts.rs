//! What guests and the cluster say of themselves: the commands that ask, and the answers as types.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use serde::Serialize;

/// What `fusionlab-facts` printed in one guest.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct GuestFacts {
    pub hostname: String,
    pub boot_id: String,
    pub machine_id: String,
    pub product_uuid: String,
    /// `done`, `running`, `error`, `disabled`, `not run`.
    pub cloud_init: String,
    /// Milliseconds since 1970 by the guest's clock.
    pub clock_ms: u64,
    /// Interface name, address.
    pub addresses: Vec<(String, Ipv4Addr)>,
    /// systemd unit → `active`, `inactive`, `failed`, …
    pub units: BTreeMap<String, String>,
    /// Path → SHA-256 (hex) of the managed files that exist.
    pub files: BTreeMap<String, String>,
    /// Program → version, such as `kubeadm` → `v1.36.4`.
    pub versions: BTreeMap<String, String>,
    /// Which of kubeadm's files exist: `kubelet.conf`, `bootstrap-kubelet.conf`, `admin.conf`,
    /// `etcd-member`, `manifest-kube-apiserver`, …
    pub kubernetes: Vec<String>,
}

impl GuestFacts {
    pub fn unit_active(&self, unit: &str) -> bool {
        self.units.get(unit).is_some_and(|state| state == "active")
    }

    pub fn holds(&self, address: Ipv4Addr) -> bool {
        self.addresses.iter().any(|(_, held)| *held == address)
    }
}

/// What the API server says, asked on the first control plane that answers.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ClusterFacts {
    /// The control plane that was asked.
    pub asked: String,
    pub nodes: BTreeMap<String, KubeNode>,
    /// Gateway API definitions that are established.
    pub definitions: Vec<String>,
    /// The bundle version annotation of those definitions, without `v`.
    pub gateway_api: Option<String>,
    pub cilium: Option<HelmRelease>,
    /// Cilium's DaemonSets and Deployments: name → all replicas ready.
    pub rollouts: BTreeMap<String, bool>,
    /// SHA-256 (hex) of the ingress manifests last applied, from our annotation on the Gateway's namespace.
    pub ingress: Option<String>,
    pub gateway_programmed: bool,
    /// NodePorts of the Gateway's Service: port → node port.
    pub node_ports: BTreeMap<u16, u16>,
    pub kube_proxy_present: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct KubeNode {
    pub ready: bool,
    pub internal_ip: Option<Ipv4Addr>,
    pub kubelet_version: String,
    pub control_plane: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct HelmRelease {
    /// `deployed`, `pending-install`, `failed`, …
    pub status: String,
    /// The chart with its version: `cilium-1.20.3`.
    pub chart: String,
    /// SHA-256 (hex) of the values it was installed with, which we give as its description.
    pub values: Option<String>,
}
