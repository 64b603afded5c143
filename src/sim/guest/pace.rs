//! How long things take on a real machine: the one table of the model guest's durations.
//!
//! Each is passed through [`Surroundings::pass`](crate::sim::seam::Surroundings::pass), which scales it.

#![expect(
    clippy::disallowed_methods,
    reason = "the grain is the simulation's own, not a wait of the product"
)]

use std::time::Duration;

/// The least time between two looks, by the computer's own clock.
const GRAIN: Duration = Duration::from_millis(10);

/// The least time that a deadline leaves for work that the computer really does, such as a TLS handshake.
const LEAST_DEADLINE: Duration = Duration::from_secs(1);

/// Waits the least time that a deadline leaves.
pub async fn least_deadline() {
    tokio::time::sleep(LEAST_DEADLINE).await;
}

/// Waits the least time between two looks.
pub async fn grain() {
    tokio::time::sleep(GRAIN).await;
}

macro_rules! paces {
    ($($(#[doc = $doc:literal])+ $name:ident = $milliseconds:literal,)+) => {
        $($(#[doc = $doc])+ pub const $name: Duration = Duration::from_millis($milliseconds);)+
    };
}

paces! {
    /// Firmware, boot loader and kernel up to systemd.
    KERNEL = 2_500,
    /// cloud-init's local stage: the seed is found about here (facts/vm-images-cloudinit.md §4.3).
    CLOUD_INIT_LOCAL = 1_000,
    /// systemd-networkd-wait-online without a lease (facts/vm-images-cloudinit.md §4.4).
    WAIT_ONLINE = 120_000,
    /// networkd's longest wait between two requests for a lease: a minute and a little.
    DHCP_RETRY = 64_000,
    /// cloud-init's network stage: users, keys, files.
    CLOUD_INIT_NETWORK = 1_200,
    /// cloud-init's config and final stages, without the commands that users give it.
    CLOUD_INIT_FINAL = 1_500,
    /// A unit's start or reload.
    UNIT_START = 300,
    /// A unit's stop.
    UNIT_STOP = 200,
    /// A crash-looping kubelet's `RestartSec`.
    KUBELET_RESTART = 10_000,
    /// chrony's first measurements.
    CHRONY_SYNC = 6_000,
    /// An orderly shutdown.
    SHUTDOWN = 2_000,
    /// One numbered step of the bake: packages are fetched and images pulled.
    BAKE_STEP = 20_000,
    /// One image from the internet (facts/kubernetes-cilium.md §1.10: 30 to 120 s for them all).
    IMAGE_PULL = 5_000,
    /// kubeadm's certificates and kubeconfig files.
    KUBEADM_CERTS = 2_000,
    /// etcd's start.
    ETCD_START = 4_000,
    /// Static pods of a control plane until they are healthy (24 to 28 s: facts/kubernetes-cilium.md §1.10).
    CONTROL_PLANE_START = 20_000,
    /// kubeadm's last phases: uploads, marks, tokens, addons.
    KUBEADM_UPLOAD = 3_000,
    /// A kubelet's TLS bootstrap (join of a worker is 10 to 20 s in all: facts/kubernetes-cilium.md §1.10).
    TLS_BOOTSTRAP = 6_000,
    /// An etcd learner until its promotion (facts/kubernetes-cilium.md §1.10).
    ETCD_PROMOTE = 3_000,
    /// `kubeadm reset`.
    KUBEADM_RESET = 4_000,
    /// One short call of kubectl or helm.
    API_CALL = 150,
    /// Rendering and applying a chart.
    HELM_APPLY = 6_000,
    /// A container's start with its image present, up to Ready.
    POD_START = 3_000,
    /// Cilium's agent from start to Ready with its images present (facts/kubernetes-cilium.md §1.10).
    CILIUM_AGENT_START = 15_000,
    /// The retry of a pod that cannot start yet.
    POD_BACKOFF = 10_000,
    /// From a change of a Gateway to Envoy having it (facts/kubernetes-cilium.md §1.10: under 10 s).
    GATEWAY_PROGRAM = 3_000,
    /// `node-monitor-grace-period`: a silent kubelet's node becomes NotReady.
    NODE_GRACE = 40_000,
    /// Between two looks of a command that waits (`kubectl wait`, `rollout status`, `waitsync`).
    POLL = 1_000,
    /// Between two looks of Keepalived at its witnesses, when nothing woke it.
    VRRP_LOOK = 1_000,
    /// A ping without an answer.
    PING_LOST = 1_000,
}
