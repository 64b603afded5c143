//! The proof, as data: what must be true of a lab that is up, hop by hop along the document's journey
//! of a packet, with how to look, what to expect and where to look further (facts/kubernetes-cilium.md §6).
//!
//! ```text
//! machines.rs … end_to_end.rs   the checks of one hop each, in the order of the journey
//! ask.rs                        the commands that several of them use
//! expect.rs                     what must have been seen, as a value and in words
//! pods.rs                       questions whose commands follow from the pods that run
//! ```
//!
//! [`judge`](super::judge::judge) compares what was seen with what was expected; nothing here looks.

mod ask;
pub mod cluster_entry;
mod control_plane;
mod end_to_end;
mod expect;
mod gateways;
mod machines;
mod pod_network;
pub mod pods;

use std::fmt;
use std::net::{Ipv4Addr, SocketAddrV4};

pub use ask::endpoint;
pub use expect::{Expect, VmnetExpect, arrows};

use crate::formats::command::Command;
use crate::lab::Lab;
use pods::{PodQuery, PodQuestion};

/// One thing to prove.
#[derive(Clone, Debug, PartialEq)]
pub struct Check {
    /// Stable, such as `lan.https`.
    pub id: &'static str,
    /// A sentence without a full stop that is true if the check passes.
    pub title: String,
    pub hop: Hop,
    pub probe: Probe,
    pub expect: Expect,
    pub hint: Hint,
}

/// What to look at when a check fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hint {
    /// Where to look and what is seen there: a sentence without its full stop.
    pub look: &'static str,
    /// The command that shows it.
    pub command: &'static str,
}

impl serde::Serialize for Hint {
    /// One text, as people read it.
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl fmt::Display for Hint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.look, self.command)
    }
}

/// A stage of the journey, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Hop {
    Machines,
    Gateways,
    ControlPlane,
    PodNetwork,
    ClusterEntry,
    EndToEnd,
}

impl Hop {
    /// Every hop, in order.
    pub const ALL: [Self; 6] = [
        Self::Machines,
        Self::Gateways,
        Self::ControlPlane,
        Self::PodNetwork,
        Self::ClusterEntry,
        Self::EndToEnd,
    ];

    /// Returns the hop as it is typed.
    pub fn id(self) -> &'static str {
        match self {
            Self::Machines => "machines",
            Self::Gateways => "gateways",
            Self::ControlPlane => "control-plane",
            Self::PodNetwork => "pod-network",
            Self::ClusterEntry => "cluster-entry",
            Self::EndToEnd => "end-to-end",
        }
    }

    /// Returns the hop as a heading.
    pub fn title(self) -> &'static str {
        match self {
            Self::Machines => "machines and their networks",
            Self::Gateways => "gateways",
            Self::ControlPlane => "control plane",
            Self::PodNetwork => "pod network",
            Self::ClusterEntry => "cluster entry",
            Self::EndToEnd => "end to end",
        }
    }
}

/// How to look.
#[derive(Clone, Debug, PartialEq)]
pub enum Probe {
    /// A control plane's own command, on the first of these whose API server answers.
    ControlPlane { commands: Vec<Labelled> },
    /// Commands in several guests, all at once; every one must meet the expectation.
    GuestEach { commands: Vec<Labelled> },
    /// Commands that follow from the pods that run now, each for one pod.
    Pods { query: PodQuery, question: PodQuestion },
    /// The facts of every machine, and how far its clock is from the host's.
    Facts,
    /// When the certificates of the lab's identity end.
    Identity,
    /// The lab's network as Fusion's files and services on the host have it.
    Vmnet,
    /// Requests by the host, all at once.
    Host { requests: Vec<Request> },
    /// A name that the host asks each of the lab's name servers for.
    Name { name: String, servers: Vec<Ipv4Addr> },
}

/// A request by the host.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    pub address: SocketAddrV4,
    /// The `Host` header; over TLS this name or address must stand in the certificate.
    pub host: String,
    pub path: String,
    /// Who must have signed the certificate; none without TLS.
    pub authority: Option<Authority>,
}

impl Request {
    /// Returns what is asked for: `https://192.168.68.200:6443/version`.
    pub fn label(&self) -> String {
        let scheme = if self.authority.is_some() { "https" } else { "http" };
        format!("{scheme}://{}{}", self.address, self.path)
    }
}

/// A command in a guest with what it shows, such as `gateway1 -> k8s-worker2`.
#[derive(Clone, Debug, PartialEq)]
pub struct Labelled {
    pub label: String,
    /// The guest that runs it.
    pub node: String,
    /// The guest that the answer is about.
    pub about: String,
    pub command: Command,
}

/// Which authority must have signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Authority {
    /// The one behind `https://*.<domain>`.
    Lab,
    /// Kubernetes' own.
    Cluster,
}

/// Returns every check of a lab, in the order of the journey.
pub fn all(lab: &Lab) -> Vec<Check> {
    [
        machines::checks(lab),
        gateways::checks(lab),
        control_plane::checks(lab),
        pod_network::checks(lab),
        cluster_entry::checks(lab),
        end_to_end::checks(lab),
    ]
    .concat()
}

#[cfg(test)]
mod tests;
