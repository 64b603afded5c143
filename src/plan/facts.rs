//! What was observed of the world on this run. Facts are never remembered: reality is the state.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::PathBuf;

use ipnet::Ipv4Net;
use serde::Serialize;

use crate::formats::mac::Mac;
use crate::formats::routes::Route;
use crate::stack::drill::Record;
pub use crate::stack::facts::{ClusterFacts, GuestFacts};
use crate::stack::identity::{Leaf, Stale};
use crate::stack::validity::Validity;

/// Everything that planning looks at.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Facts {
    pub host: HostFacts,
    /// Fusion's networking file, verbatim; none if there is none yet.
    pub networking: Option<Vec<u8>>,
    /// What this lab recorded when it changed it; none if it has not.
    pub network_record: Option<NetworkRecord>,
    /// The record of the lab's network, if fusionlab made it.
    pub network_made: Option<MadeNetwork>,
    /// Whether Fusion's programs say that the internal network's services run.
    pub network_running: bool,
    /// A change of Fusion's networks that an earlier run began and did not see through.
    pub unfinished: Option<UnfinishedChange>,
    pub template: TemplateFacts,
    /// One entry for each node of the lab, and for each other VM that bears this lab's mark.
    pub vms: BTreeMap<String, VmFacts>,
    /// Guests that answered over SSH.
    pub guests: BTreeMap<String, GuestFacts>,
    /// What the API server says; none if there is none to ask, or what it says is not understood.
    pub cluster: Option<ClusterFacts>,
    /// Why what an API server says is not understood: it is there, which is another thing than silence.
    pub unreadable: Option<String>,
    /// Whether the lab's identity is complete.
    pub identity: bool,
    /// The identity's certificates that are to be issued anew, and why.
    pub stale_identity: Vec<(Leaf, Stale)>,
    /// How long the certificates of the lab's identity are valid; nothing of a lab that has none.
    pub own_certificates: Vec<(Leaf, Validity)>,
    /// When this was observed by this machine's clock, in seconds since 1970.
    pub now: u64,
    /// Whether the lab has a folder on the host.
    pub lab_folder: bool,
    /// The user's kubeconfigs that have the lab's entries.
    pub merged_kubeconfigs: Vec<PathBuf>,
    /// The file that sends the lab's domain to its name server, as this lab wrote it.
    pub resolver: Option<ResolverRecord>,
    /// What a drill broke and nobody put back.
    pub drill: Option<Record>,
    /// SHA-256 (hex) of the kubeconfig on the host.
    pub kubeconfig: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct HostFacts {
    /// Fusion's version, as its Info.plist says it.
    pub fusion: String,
    pub memory_mib: u64,
    pub cpus: u32,
    /// VMX files of VMs that run now, ours and others'.
    pub running: Vec<PathBuf>,
    /// MACs used by VMs in the library that are not this lab's: address, VMX.
    pub foreign_macs: Vec<(String, PathBuf)>,
    /// Whether Fusion's window is open: its Apply overwrites the networking file.
    pub fusion_ui_open: bool,
    /// The host's interfaces that are Wi-Fi.
    pub wifi: Vec<String>,
    /// The host's IPv4 routes; empty if they could not be read.
    pub routes: Vec<Route>,
    /// The home networks that the host is in, by interface; empty if it does not say, or nobody asked (`plan::lan`).
    pub lan: Vec<(String, Ipv4Net)>,
}

/// What a lab wrote into Fusion's networking file (`network.json` in the lab's folder).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, serde::Deserialize)]
pub struct NetworkRecord {
    /// Version of this record's form: 2.
    pub version: u32,
    pub vmnet: u8,
    /// The reservations that we wrote: MAC, address.
    pub reservations: Vec<(Mac, Ipv4Addr)>,
}

/// A file of `/etc/resolver` that a lab wrote (`resolver.json` in the lab's folder).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, serde::Deserialize)]
pub struct ResolverRecord {
    /// Version of this record's form: 1.
    pub version: u32,
    pub file: PathBuf,
    pub domain: String,
}

/// A network that fusionlab made, whichever lab came first (`vmnet<n>.json` beside the backups).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, serde::Deserialize)]
pub struct MadeNetwork {
    /// Version of this record's form: 1.
    pub version: u32,
    pub vmnet: u8,
    pub subnet: Ipv4Net,
    /// Fusion's name for it; none until Fusion has given it one.
    pub uuid: Option<String>,
    /// The reservations that labs wrote on it: as long as it has no name of Fusion's, it is known by one of them.
    #[serde(default)]
    pub reservations: Vec<(Mac, Ipv4Addr)>,
}

/// A change of Fusion's networks that was begun, and whose outcome nobody has seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct UnfinishedChange {
    pub vmnet: u8,
    /// When it began, in RFC 3339.
    pub since: String,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct TemplateFacts {
    pub key: String,
    /// Whether anything of it is there.
    pub present: bool,
    pub image_cached: bool,
    /// Whether its disk is there and usable: not one whose bake was cut short.
    pub disk_written: bool,
    pub baked: bool,
    pub frozen: bool,
    /// VMs whose disks are layers over the template's: linked clones, whoever made them.
    pub hanging: Vec<PathBuf>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct VmFacts {
    pub vmx: PathBuf,
    pub state: VmState,
    /// The value of `fusionlab.spec`; none before the VM is configured.
    pub spec: Option<String>,
    /// What the VMX says now: see `stack::vm::parts`.
    pub parts: BTreeMap<String, String>,
    /// Files that its disk is made of and that are not there: its own, or its template's.
    pub lost: Vec<PathBuf>,
    /// VMX files of others' VMs whose disks are layers over its own: linked clones that somebody made of it.
    pub hanging: Vec<PathBuf>,
    pub running: bool,
}

impl VmFacts {
    /// A VM of which no more is known than where its VMX lies.
    pub fn new(vmx: PathBuf, state: VmState) -> Self {
        let (lost, hanging) = (Vec::new(), Vec::new());
        Self { vmx, state, spec: None, parts: BTreeMap::new(), lost, hanging, running: false }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum VmState {
    Absent,
    /// A clone that was not finished: its folder holds our marker file. Cloning starts over.
    Unfinished,
    /// Ours by the marks in its VMX.
    Ours,
    /// A VM stands there that does not bear our mark.
    Foreign,
}
