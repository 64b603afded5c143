//! A plan: steps as data, each with an id, what it needs, and a text. Who says what a step does, why, and after which
//! others, has it: all else follows from the action.

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;

use serde::Serialize;

use super::costs;
use super::kind::{self, Kind};
use crate::formats::networking::Scope;
use crate::stack::drill::Scenario;

/// A step's stable name: its kind and, where it concerns one node, `/<node>`: `vm.clone/k8s-master1`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct StepId(String);

impl StepId {
    /// Names something that is told as a step is, though no plan has it.
    pub fn apart(name: &str) -> Self {
        Self(name.to_owned())
    }

    /// Reads an id that some plan may have.
    #[cfg(test)]
    pub fn read(text: &str) -> Self {
        let id = Self(text.to_owned());
        let is_known = id.kind().is_some_and(|kind| kind.is_of_machine() == id.node().is_some());
        assert!(is_known, "no plan has a step {text}");
        id
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns its kind; none if no plan has it.
    pub fn kind(&self) -> Option<Kind> {
        Kind::of_id(&self.0)
    }

    /// Returns the machine that it concerns, if one.
    pub fn node(&self) -> Option<&str> {
        self.0.split_once('/').map(|(_, node)| node)
    }

    /// Returns it without its machine: `vm.clone`.
    pub fn without_node(&self) -> &str {
        kind::without_node(&self.0)
    }
}

impl fmt::Display for StepId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Kind {
    /// Returns the id of the step of this kind that concerns a machine.
    pub fn on(self, node: &str) -> StepId {
        debug_assert!(self.is_of_machine(), "no step {} concerns one machine", self.name());
        StepId(format!("{}/{node}", self.name()))
    }

    /// Returns the id of the step of this kind, which concerns no one machine.
    pub fn id(self) -> StepId {
        debug_assert!(!self.is_of_machine(), "a step {} concerns one machine", self.name());
        StepId(self.name().to_owned())
    }
}

/// The phases of a node's row on screen, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Things of the host: keys, the network, the template.
    Host,
    Clone,
    Boot,
    /// It takes our key: its card is on the network and has its address.
    Net,
    /// cloud-init is done.
    Ready,
    /// Gateway services, node preparation.
    Configure,
    /// `kubeadm init` or `join`.
    Join,
    /// It does its part: its node is Ready, or one gateway of the pair holds the VIPs.
    Healthy,
    /// Cilium, Gateway API, kubeconfig: things of the whole cluster.
    Cluster,
    Stop,
    Delete,
    /// One scenario of a drill.
    Drill,
}

/// What only so many steps may do at once.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Gate {
    /// Clones of one parent queue on it: a clone writes the parent's snapshot records.
    Parent,
    /// VMs powering on: bounded by the host's processors.
    PowerOn,
    /// SSH logins: OpenSSH refuses more than ten unauthenticated ones at once.
    Guest,
}

/// The kinds of steps after which the whole waits for their machine to do its part.
const GIVE_A_PART: [Kind; 5] =
    [Kind::GatewayConfigure, Kind::GuestReady, Kind::KubeInit, Kind::KubeJoin, Kind::KubeCertificates];

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Step {
    pub id: StepId,
    /// Steps of this plan that must have succeeded before.
    pub needs: Vec<StepId>,
    /// The node it concerns, if one.
    pub node: Option<String>,
    pub phase: Phase,
    pub gate: Option<Gate>,
    /// One line in the imperative: "clone k8s-master1 from the template".
    pub text: String,
    /// Why it is in the plan: what was observed, such as "no VM of this name".
    pub why: String,
    /// Seconds it usually takes on a Mac; the journal's own history replaces it.
    pub cost_seconds: u32,
    pub action: Action,
}

/// A phase of a machine that comes to its end within a step, before the step's own end or in another machine's row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Milestone {
    pub node: String,
    pub phase: Phase,
}

/// What a step does. The engine has one function for each, which goes by what it finds.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "do")]
pub enum Action {
    /// Make the lab's keys, certificates and tokens.
    CreateIdentity,
    /// Write Fusion's networking file and restart what must follow it. `diff` is what the user is shown.
    ApplyNetwork {
        diff: String,
        scope: Scope,
    },
    /// Download the cloud image into the cache.
    FetchImage,
    /// Write the template's disk from the image.
    ConvertImage,
    /// Boot the template with the bake seed until it powers itself off.
    BakeTemplate,
    /// Check the baked versions, take the snapshot, make the disk read-only.
    FreezeTemplate,
    /// Make the VM's folder from the template.
    CloneVm {
        node: String,
    },
    /// Write the VM's seed and VMX.
    ConfigureVm {
        node: String,
    },
    StartVm {
        node: String,
    },
    /// Wait for our key to be taken and for cloud-init to be done; check that the address is its own.
    AwaitGuest {
        node: String,
    },
    /// Wait until a machine that was restarted does its part again: holds etcd's quorum up, the VIPs, or pods.
    AwaitBack {
        node: String,
    },
    /// Set the guest's clock right at once.
    SetClock {
        node: String,
    },
    /// Listen from a gateway whether anybody else on the LAN has the VIP or our VRRP router id.
    ProbeLan {
        node: String,
    },
    /// Put the gateway's files in place, test them, reload what changed.
    ConfigureGateway {
        node: String,
    },
    /// Wait until exactly one gateway holds both VIPs.
    AwaitVips,
    /// Put the node's files in place, check its identity, wait for its clock.
    PrepareNode {
        node: String,
    },
    /// Renew a node's certificates that end soon, and those that lack a name.
    RenewCertificates {
        node: String,
    },
    InitControlPlane {
        node: String,
    },
    /// Prove that every member reaches the API server through the internal VIP.
    AwaitEndpoint,
    JoinControlPlane {
        node: String,
    },
    JoinWorker {
        node: String,
    },
    /// Gateway API definitions, applied by the server and established.
    InstallGatewayApi,
    InstallCilium,
    /// Wait for Cilium's rollouts and for every node to be Ready.
    AwaitNodes,
    /// Class, configuration, Service with fixed NodePorts, certificate, Gateway, test application.
    ConfigureIngress,
    WriteKubeconfig,
    /// Lose something, measure who feels it, put it back. `on` is the machine, if one was wished.
    Drill {
        scenario: Scenario,
        on: Option<String>,
    },
    /// Put back what a drill broke that was killed.
    EndDrill {
        scenario: Scenario,
        node: String,
    },

    StopVm {
        node: String,
    },
    DeleteVm {
        node: String,
    },
    /// Remove a template that was not finished.
    DiscardTemplate,
    /// Remove the template, so that it is made anew.
    RemoveTemplate,
    /// Take our lines out of Fusion's networking file and restart what must follow it.
    RestoreNetwork {
        diff: String,
        scope: Scope,
    },
    /// Put a backup in the place of Fusion's networking file.
    PutBackNetwork {
        diff: String,
        scope: Scope,
        backup: String,
    },
    /// Take the lab's entries out of the user's kubeconfigs.
    UnmergeKubeconfig {
        files: Vec<PathBuf>,
    },
    /// Remove the file that sends the lab's domain to its name server.
    RemoveResolver {
        file: PathBuf,
        domain: String,
    },
    /// Remove the lab's folder: identity, kubeconfig, known_hosts, records.
    ForgetLab,
}

/// Steps in an order in which they could run one after the other.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Plan {
    pub steps: Vec<Step>,
    /// What stands already, one line each, for the reader.
    pub kept: Vec<String>,
    /// The steps of a lab that stands about which nobody could be asked: each looks first, and may find nothing to do.
    pub unseen: BTreeSet<StepId>,
}

impl Action {
    /// Returns the change of Fusion's networking file that the user is shown and what restarts for it, if it is one.
    pub fn of_networks(&self) -> Option<(&str, Scope)> {
        match self {
            Self::ApplyNetwork { diff, scope }
            | Self::RestoreNetwork { diff, scope }
            | Self::PutBackNetwork { diff, scope, .. } => Some((diff, *scope)),
            _ => None,
        }
    }
}

impl Action {
    /// Returns the id of the step that does it.
    pub fn id(&self) -> StepId {
        match (self, self.node()) {
            (Self::Drill { scenario, .. }, _) => StepId(format!("{}.{scenario}", Kind::Drill.name())),
            (_, Some(node)) => self.kind().on(node),
            (_, None) => self.kind().id(),
        }
    }

    /// Returns the one machine that it concerns; none for what concerns the host, the whole cluster, or whichever machine
    /// a drill comes to.
    pub fn node(&self) -> Option<&str> {
        match self {
            Self::CloneVm { node }
            | Self::ConfigureVm { node }
            | Self::StartVm { node }
            | Self::StopVm { node }
            | Self::DeleteVm { node }
            | Self::AwaitGuest { node }
            | Self::AwaitBack { node }
            | Self::SetClock { node }
            | Self::ProbeLan { node }
            | Self::ConfigureGateway { node }
            | Self::PrepareNode { node }
            | Self::RenewCertificates { node }
            | Self::InitControlPlane { node }
            | Self::JoinControlPlane { node }
            | Self::JoinWorker { node }
            | Self::EndDrill { node, .. } => Some(node),
            Self::CreateIdentity
            | Self::ApplyNetwork { .. }
            | Self::RestoreNetwork { .. }
            | Self::PutBackNetwork { .. }
            | Self::FetchImage
            | Self::ConvertImage
            | Self::BakeTemplate
            | Self::FreezeTemplate
            | Self::DiscardTemplate
            | Self::RemoveTemplate
            | Self::AwaitVips
            | Self::AwaitEndpoint
            | Self::InstallGatewayApi
            | Self::InstallCilium
            | Self::AwaitNodes
            | Self::ConfigureIngress
            | Self::WriteKubeconfig
            | Self::UnmergeKubeconfig { .. }
            | Self::RemoveResolver { .. }
            | Self::ForgetLab
            | Self::Drill { .. } => None,
        }
    }
}

impl Step {
    /// Makes a step that needs no other.
    pub fn new(action: Action, text: impl Into<String>, why: impl Into<String>) -> Self {
        let kind = action.kind();
        Self {
            id: action.id(),
            needs: Vec::new(),
            node: action.node().map(str::to_owned),
            phase: kind.phase(),
            gate: kind.gate(),
            text: text.into(),
            why: why.into(),
            cost_seconds: costs::of(&action),
            action,
        }
    }

    /// Returns the machines' phases that come to their end within this step.
    pub fn milestones(&self) -> Vec<Milestone> {
        let (nodes, phase): (BTreeSet<&str>, _) = match &self.action {
            Action::AwaitGuest { node } => ([node.as_str()].into(), Phase::Net),
            // They wait for the machines that the steps before them have given a part.
            Action::AwaitVips | Action::AwaitNodes => {
                let gives = |need: &&StepId| need.kind().is_some_and(|kind| GIVE_A_PART.contains(&kind));
                let of_machines = self.needs.iter().filter(gives).filter_map(StepId::node);
                (of_machines.collect(), Phase::Healthy)
            }
            _ => return Vec::new(),
        };
        nodes.into_iter().map(|node| Milestone { node: node.to_owned(), phase }).collect()
    }
}

impl Plan {
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    pub fn step(&self, id: &StepId) -> Option<&Step> {
        self.steps.iter().find(|step| step.id == *id)
    }
}
