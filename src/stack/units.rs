//! The systemd units by which a machine does its part in the lab.

use super::dns;
use crate::lab::Role;

/// What keeps the clock, on every machine.
pub const CLOCK: &str = "chrony";
/// What makes a machine a node, once kubeadm has given it something to do.
pub const KUBELET: &str = "kubelet";

/// Returns what a machine of this role does its part with, in the order in which it is needed.
pub const fn of(role: Role) -> &'static [&'static str] {
    match role {
        Role::Gateway => &["nginx", "keepalived", dns::UNIT],
        Role::ControlPlane | Role::Worker => &["containerd", KUBELET],
    }
}
