//! Why a step, or a whole run, failed: typed, with what was seen. Advice is given in `cli::error`.

use std::net::Ipv4Addr;
use std::path::PathBuf;

use crate::formats::mac::Mac;
use crate::host::HostError;
use crate::lab::limits::Limit;
use crate::plan::obstacle::Obstacle;
use crate::plan::step::StepId;
use crate::stack::drill::Scenario;
use crate::stack::identity::IdentityError;
use crate::stack::pki::PkiError;

pub type Result<T, E = EngineError> = std::result::Result<T, E>;

/// A failed run or step.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    #[error(transparent)]
    Host(#[from] HostError),

    /// The lab's journal was written by a newer fusionlab; nothing was done.
    #[error("{} is of version {found}; this fusionlab knows version {known}", path.display())]
    NewerJournal { path: PathBuf, found: u32, known: u32 },

    /// Others' things stand in the way; nothing was done.
    #[error("{} things stand in the way", .0.len())]
    Obstacles(Vec<Obstacle>),

    /// The lab's keys and certificates could not be made or read.
    #[error("the lab's identity: {0}")]
    Identity(#[from] IdentityError),

    #[error("the lab's certificates: {0}")]
    Certificates(#[from] PkiError),

    /// What cannot be, unless fusionlab is wrong.
    #[error("{reason}")]
    Defect { reason: String },

    /// Something that must become true did not within its limit.
    #[error("{} did not happen within {} s: {last}", requirement.what, requirement.limit.duration().as_secs())]
    Requirement {
        node: Option<String>,
        requirement: Box<Requirement>,
        /// What the last probe saw.
        last: String,
        /// The last lines of the guest's console.
        tail: Vec<String>,
    },

    /// A guest command ended badly.
    #[error("{command} on {node}: {reason}")]
    Command {
        node: String,
        /// The name of the program that did the work.
        program: String,
        /// The command line, as messages show it.
        command: String,
        reason: String,
        tail: Vec<String>,
    },

    /// A guest is not what it must be.
    #[error("{node}: {reason}")]
    Guest { node: String, reason: String, tail: Vec<String> },

    /// A guest was to do something, and its machine does not run.
    #[error("{node} is off")]
    Off { node: String },

    /// A folder was to be copied as a file.
    #[error("{place} is a folder")]
    IsFolder { place: String },

    /// A folder was to be copied to where something is.
    #[error("{place} is there already")]
    Taken { place: String },

    /// A machine did not give or take what was to be copied; what its program said is in `reason`.
    #[error("{place}: {reason}")]
    NotCopied { node: String, place: String, reason: String, tail: Vec<String> },

    /// Somebody else on the LAN has the address that the gateways are to hold.
    #[error("{vip} is taken: {mac} answers for it on the LAN")]
    VipTaken { node: String, vip: Ipv4Addr, mac: Mac },

    /// Somebody else on the LAN has the address of a gateway's card there.
    #[error("{address}, which is to be {owner}'s, is taken: {mac} answers for it on the LAN")]
    LanAddressTaken { node: String, owner: String, address: Ipv4Addr, mac: Mac },

    /// Somebody else's VRRP router has the id that the gateways are to have.
    #[error("VRRP router id {id} is taken: {address} ({mac}) sends adverts with it, heard on {interface}")]
    RouterIdTaken { node: String, id: u8, address: Ipv4Addr, mac: Mac, interface: String },

    /// The cluster is not what it must be.
    #[error("{reason}")]
    Cluster { reason: String, tail: Vec<String> },

    /// A control plane does not answer, and what it holds may not be thrown away.
    #[error("{node} has etcd's data, its API server does not answer, and it is not reset: {evidence}")]
    DataKept { node: String, evidence: String, tail: Vec<String> },

    /// Two machines say that they are the same one.
    #[error("{node} and {other} have the same {what}: {value}")]
    SameIdentity { node: String, other: String, what: &'static str, value: String },

    /// A machine was switched off, or went down, while something was waited for in it.
    #[error("{node} lost its power while it was waited for")]
    PowerLost { node: String, tail: Vec<String> },

    /// The Mac finds no way to a machine that runs, for as long as it was waited for: macOS keeps programs from the local network until
    /// its owner allows it (facts/vmrun-vmrest.md §1.5).
    #[error("this Mac finds no way to {node} at {address}, which runs")]
    LocalNetworkDenied { node: String, address: Ipv4Addr },

    /// The template could not be made.
    #[error("{reason}")]
    Template { reason: String, tail: Vec<String> },

    /// What was baked is not what the lab wants.
    #[error("the template differs from the lab: {}", differences.join(", "))]
    TemplateDiffers { differences: Vec<String> },

    /// The template cannot be cloned, or its clone is not what it must be.
    #[error("{} cannot be cloned: {reason}", vmx.display())]
    TemplateUnfit { vmx: PathBuf, reason: String },

    /// The template went away after the run had looked at it.
    #[error("{} is gone, which was to be cloned", vmx.display())]
    TemplateGone { vmx: PathBuf },

    /// A drill was refused: nothing is broken that is not whole.
    #[error("the lab is not whole: {ailments}")]
    NotWhole { ailments: String },

    /// A drill broke something that is not as it was.
    #[error("{scenario} is not put back: {what}")]
    NotPutBack { scenario: Scenario, what: String, by_hand: String },

    /// Some steps failed; everything that did not need them was done.
    #[error("{} of {planned} steps failed", failures.len())]
    Steps { failures: Vec<StepFailure>, done: usize, skipped: usize, planned: usize },

    /// The proof failed, or could not be asked for.
    #[error("{}", super::verify::unproven(failed.len(), not_asked.len(), *total))]
    Verification { failed: Vec<String>, not_asked: Vec<String>, total: usize },

    /// The user said stop; what was begun was finished.
    #[error("interrupted: {done} of {planned} steps done")]
    Interrupted { done: usize, planned: usize },
}

impl EngineError {
    /// Returns the error of a guest that is not what it must be, and whose printed lines say no more.
    pub fn guest(node: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Guest { node: node.into(), reason: reason.into(), tail: Vec::new() }
    }

    /// Returns the error of a cluster that is not what it must be, where printed lines say no more.
    pub fn cluster(reason: impl Into<String>) -> Self {
        Self::Cluster { reason: reason.into(), tail: Vec::new() }
    }

    /// Returns the error of a template that could not be made, where printed lines say no more.
    pub fn template(reason: impl Into<String>) -> Self {
        Self::Template { reason: reason.into(), tail: Vec::new() }
    }

    /// Passes what guests and programs printed through `clean`: it may hold a token.
    pub fn cleaned(mut self, clean: impl Fn(&str) -> String) -> Self {
        if let Self::Requirement { tail, .. }
        | Self::Command { tail, .. }
        | Self::Guest { tail, .. }
        | Self::PowerLost { tail, .. }
        | Self::NotCopied { tail, .. }
        | Self::Cluster { tail, .. }
        | Self::DataKept { tail, .. }
        | Self::Template { tail, .. } = &mut self
        {
            for line in tail {
                *line = clean(line);
            }
        }
        if let Self::Requirement { last: text, .. }
        | Self::Command { reason: text, .. }
        | Self::Guest { reason: text, .. }
        | Self::NotCopied { reason: text, .. }
        | Self::Cluster { reason: text, .. }
        | Self::DataKept { evidence: text, .. }
        | Self::Template { reason: text, .. } = &mut self
        {
            *text = clean(text);
        }
        self
    }
}

/// A step and why it failed.
#[derive(Debug)]
pub struct StepFailure {
    pub step: StepId,
    pub node: Option<String>,
    pub error: EngineError,
}

/// Something that must become true: what, by when, and what to look at if it never does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requirement {
    /// A clause such as "k8s-master1 takes our SSH key".
    pub what: String,
    pub limit: Limit,
    /// What to check if it never comes.
    pub hint: &'static str,
}
