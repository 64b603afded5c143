//! What each action usually takes on a Mac: the one table of costs, until the journal knows this Mac's own.

use super::step::Action;
use crate::formats::networking::Scope;
use crate::lab::limits::Limits;
use crate::stack::drill::Scenario;

/// Returns an action's row of the table, in seconds.
pub fn of(action: &Action) -> u32 {
    match action {
        Action::CreateIdentity => 1,
        Action::ApplyNetwork { scope, .. }
        | Action::RestoreNetwork { scope, .. }
        | Action::PutBackNetwork { scope, .. } => of_networks(*scope),
        Action::FetchImage => 60,
        Action::ConvertImage => 15,
        Action::BakeTemplate => 180,
        Action::FreezeTemplate => 5,
        Action::DiscardTemplate | Action::RemoveTemplate => 2,
        Action::CloneVm { .. } => 3,
        Action::ConfigureVm { .. } => 1,
        Action::StartVm { .. } => 5,
        Action::StopVm { .. } => 10,
        Action::DeleteVm { .. } => 2,
        Action::AwaitGuest { .. } => 25,
        Action::AwaitBack { .. } => 15,
        Action::SetClock { .. } => 3,
        Action::ProbeLan { .. } => of_probe(&Limits::default()),
        Action::ConfigureGateway { .. } => 3,
        Action::AwaitVips => 4,
        Action::PrepareNode { .. } => 5,
        Action::RenewCertificates { .. } => 10,
        Action::InitControlPlane { .. } => 50,
        Action::AwaitEndpoint => 3,
        Action::JoinControlPlane { .. } => 45,
        Action::JoinWorker { .. } => 15,
        Action::InstallGatewayApi => 5,
        Action::InstallCilium => 20,
        Action::AwaitNodes => 45,
        Action::ConfigureIngress => 15,
        Action::WriteKubeconfig | Action::UnmergeKubeconfig { .. } | Action::RemoveResolver { .. } => 1,
        Action::ForgetLab => 1,
        Action::Drill { scenario, .. } => of_drill(*scenario),
        Action::EndDrill { .. } => 30,
    }
}

/// Returns how long a look at who else is on the LAN takes: all of its limit, since it listens so long.
pub fn of_probe(limits: &Limits) -> u32 {
    u32::try_from(limits.lan_probe.as_secs()).unwrap_or(u32::MAX)
}

fn of_networks(scope: Scope) -> u32 {
    match scope {
        Scope::Networks => 8,
        Scope::Reservations | Scope::Text | Scope::Nothing => 2,
    }
}

fn of_drill(scenario: Scenario) -> u32 {
    match scenario {
        Scenario::GatewayNginx | Scenario::GatewayKeepalived | Scenario::GatewayNetwork => 10,
        // The machine boots.
        Scenario::GatewayVm | Scenario::WorkerVm | Scenario::ControlPlaneVm => 90,
    }
}
