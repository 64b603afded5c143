//! How each action is held to its time: the one table of deadlines of whole steps, and of what is tried again.
//!
//! A deadline is more than the sum of the limits of all waits inside the step, so that these, which know what they wait
//! for, are the first to fail. It is there for what has no limit of its own.

use std::time::Duration;

use crate::engine::error::{EngineError, Requirement};
use crate::engine::steps::cluster::CLASS_PARTS;
use crate::host::HostError;
use crate::host::fusion::verbs::{self, Verb};
use crate::lab::limits::{Limit, Limits};
use crate::plan::step::{Action, Step};

/// How often a step is begun whose guest was lost on the way. Every step looks first and goes on from what it finds.
const GUEST_TRIES: u32 = 3;
/// Pause before a step is begun again; the next one is twice as long.
pub const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// How a step is held to its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// The most that the whole step may take, all tries included; none for what cannot hang, or must not be cut off.
    pub deadline: Option<Limit>,
    /// How often it is begun, if it fails for a reason that passes ([`passes`]).
    pub tries: u32,
    /// Whether it is brought to its end though the user said stop, however long that takes: it holds something of
    /// others' in pieces.
    pub sheltered: bool,
}

/// Returns an action's row of the table; `members` is how many nodes the cluster has.
pub fn of(action: &Action, limits: &Limits, members: u32) -> Policy {
    let all_tries = |verb: &Verb, limit: Duration| limit * verb.tries;
    let start = all_tries(&verbs::START, limits.vm_start);
    let stop = all_tries(&verbs::STOP_SOFT, limits.vm_stop_soft)
        + all_tries(&verbs::STOP_HARD, limits.vm_stop_hard)
        + limits.vm_unlock;
    let clone = all_tries(&verbs::CLONE, limits.vm_clone);
    let delete = all_tries(&verbs::DELETE, limits.vm_clone);
    let query = all_tries(&verbs::LIST, limits.fusion_query);
    let convert = query + delete + limits.template_bake;
    let bake = query + start + limits.template_bake + stop;
    // A join first waits for a kubeadm that an earlier run left, then resets, then joins; a control plane's twice.
    let join = (limits.kubeadm_join * 3 + limits.api_endpoint * 2) * 2 + limits.api_endpoint;
    let row = |waits: Duration| Policy {
        deadline: Some(limits.step_slack().and(waits)),
        tries: 1,
        sheltered: false,
    };
    // Each try may wait as long as the one before.
    let guest = |waits: Duration| Policy { tries: GUEST_TRIES, ..row(waits * GUEST_TRIES) };
    let finished = |policy: Policy| Policy { sheltered: true, ..policy };
    let endless = Policy { deadline: None, tries: 1, sheltered: false };
    match action {
        Action::CreateIdentity | Action::WriteKubeconfig | Action::UnmergeKubeconfig { .. } => {
            row(limits.kubeconfig_lock)
        }
        // It clears away what a clone has left, and waits for the networks' records.
        Action::ForgetLab => row(limits.turn * 2 + query + delete),
        // `sudo` may ask for a password there, and whoever types takes the time that it takes.
        Action::RemoveResolver { .. } => endless,
        Action::ApplyNetwork { .. } | Action::RestoreNetwork { .. } | Action::PutBackNetwork { .. } => {
            finished(endless)
        }
        // Goes on as long as bytes come: `download_stall` ends it.
        Action::FetchImage => endless,
        Action::ConvertImage => row(limits.turn + convert),
        // One that hangs at its boot is made anew from the image, and waited for again.
        Action::BakeTemplate => row(limits.turn + bake * 2 + convert),
        Action::FreezeTemplate => row(limits.turn + query + clone),
        Action::DiscardTemplate | Action::RemoveTemplate => row(limits.turn + query + stop + delete),
        Action::CloneVm { .. } => row(limits.turn + delete + clone * 2),
        Action::ConfigureVm { .. } => row(query + limits.vm_unlock),
        Action::StartVm { .. } => row(query + start),
        Action::StopVm { .. } => row(query + stop),
        Action::DeleteVm { .. } => row(limits.turn + query * 2 + stop + delete * 2),
        // One that does not answer is switched off and on, and waited for again.
        Action::AwaitGuest { .. } => {
            guest(limits.guest_ssh * 2 + stop + start + limits.guest_cloud_init + query * 3)
        }
        Action::SetClock { .. } => guest(limits.clock_sync),
        Action::AwaitBack { .. } => guest(limits.vip_held * 2 + limits.api_endpoint + limits.nodes_ready),
        // The API server comes back, and each of a control plane's containers before it.
        Action::RenewCertificates { .. } => guest(limits.api_endpoint * (members + 4)),
        Action::ProbeLan { .. } => guest(limits.guest_command + limits.lan_probe),
        Action::ConfigureGateway { .. } => guest(limits.vip_held),
        Action::AwaitVips => guest(limits.vip_held),
        Action::PrepareNode { .. } => guest(limits.clock_sync),
        // It may find another control plane's cluster and join that.
        Action::InitControlPlane { .. } => guest(limits.kubeadm_init * 4 + limits.api_endpoint * 3 + join),
        Action::AwaitEndpoint => guest(limits.api_endpoint * (members + 1)),
        Action::JoinControlPlane { .. } | Action::JoinWorker { .. } => guest(join),
        Action::InstallGatewayApi => guest(limits.crds_established * 2),
        Action::InstallCilium => guest(limits.helm_install * 2 + limits.cilium_ready),
        Action::AwaitNodes => guest(limits.cilium_ready + limits.nodes_ready),
        Action::ConfigureIngress => guest(
            limits.crds_established
                + limits.cilium_ready
                + limits.nodes_ready
                // For the class a part and then all, all for the Gateway, and all to spread the application.
                + limits.gateway_programmed / CLASS_PARTS
                + limits.gateway_programmed * 3,
        ),
        // What a drill breaks it puts back; each part of that has its limit.
        Action::Drill { .. } | Action::EndDrill { .. } => finished(endless),
    }
}

/// Says whether an error may be gone at the next try: a guest's connection broke, or was not to be had. Whatever was
/// waited for in vain, refused or found wrong would be so again.
pub fn passes(error: &EngineError) -> bool {
    matches!(
        error,
        EngineError::Host(HostError::Lost { .. } | HostError::Ssh { .. } | HostError::Connect { .. })
    )
}

/// Returns the error of a step that has used up its time.
pub fn overdue(step: &Step, limit: Limit) -> EngineError {
    let requirement = Requirement {
        what: format!("the step {} comes to an end", step.id),
        limit,
        hint: "something in it hangs that has no limit of its own: the step's file in the log says how far it came",
    };
    EngineError::Requirement {
        node: step.node.clone(),
        requirement: Box::new(requirement),
        last: "it is still at work".to_owned(),
        tail: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node() -> String {
        "k8s-master1".to_owned()
    }

    #[test]
    fn a_steps_own_waits_are_the_first_to_fail() {
        let limits = Limits::default();
        let longer = |action: Action, waits: Duration| {
            let deadline = of(&action, &limits, 5).deadline.expect("it has one").duration();
            assert!(deadline > waits, "{action:?}: {deadline:?} is no longer than {waits:?}");
        };
        longer(Action::StartVm { node: node() }, limits.vm_start * verbs::START.tries + limits.fusion_query);
        longer(Action::AwaitGuest { node: node() }, limits.guest_ssh * 2 + limits.guest_cloud_init);
        longer(Action::InitControlPlane { node: node() }, limits.kubeadm_init * 2 + limits.api_endpoint);
        longer(Action::JoinControlPlane { node: node() }, limits.kubeadm_join * 6);
        longer(Action::AwaitEndpoint, limits.api_endpoint * 6);
        longer(Action::AwaitNodes, limits.cilium_ready + limits.nodes_ready);
        longer(Action::BakeTemplate, limits.turn + limits.template_bake * 2);
        longer(Action::CloneVm { node: node() }, limits.turn + limits.vm_clone * verbs::CLONE.tries);
    }

    #[test]
    fn what_holds_others_things_in_pieces_is_brought_to_its_end() {
        let limits = Limits::default();
        let scenario = crate::stack::drill::Scenario::GatewayNginx;
        assert!(of(&Action::Drill { scenario, on: None }, &limits, 5).sheltered);
        assert!(of(&Action::EndDrill { scenario, node: node() }, &limits, 5).sheltered);
        let scope = crate::formats::networking::Scope::Networks;
        assert!(of(&Action::ApplyNetwork { diff: String::new(), scope }, &limits, 5).sheltered);
        assert!(!of(&Action::CloneVm { node: node() }, &limits, 5).sheltered);
    }

    #[test]
    fn a_broken_connection_passes_and_a_refusal_does_not() {
        let lost = HostError::Lost { node: node(), command: "true".into(), reason: "reset".into() };
        assert!(passes(&lost.into()));
        let login = HostError::Login { node: node(), user: "lab".into() };
        assert!(!passes(&login.into()));
        assert!(!passes(&HostError::Interrupted.into()));
        let start = crate::engine::fixture::start("k8s-master1", &[]);
        assert!(!passes(&overdue(&start, Limits::default().step_slack())));
    }
}
