//! `vmnet-cli`: configure, start, stop and status of all networks (facts/fusion-networking.md §2.2).

use std::io;

use super::{FAILED, Screen};
use crate::sim::configure;
use crate::sim::faults;
use crate::sim::files;
use crate::sim::inside;
use crate::sim::network::{self, Networks, Service, ServiceKind};
use crate::sim::pace::{Operation, Pace};
use crate::sim::places::Places;
use crate::sim::settings::Settings;

const SOME_FAILED: &str = "Failed to start some/all services";

/// Runs one vmnet-cli command.
pub async fn run(places: &Places, args: &[String], screen: &mut Screen) -> u8 {
    let ran = match args.first().map(String::as_str) {
        Some("--configure" | "-c" | "--config") => configure(places).await,
        Some("--start") => start(places, screen).await,
        Some("--stop") => stop(places, screen).await,
        Some("--status") => status(places, screen),
        _ => {
            screen.line("Usage: vmnet-cli --configure | --start | --stop | --status");
            return 1;
        }
    };
    match ran {
        Ok(0) if lies(places, args) => 1,
        Ok(status) => status,
        Err(error) => {
            screen.error_line(&error.to_string());
            1
        }
    }
}

/// Says whether this call's exit status tells the opposite of what came of it.
fn lies(places: &Places, args: &[String]) -> bool {
    faults::strikes(places, faults::NETWORK_EXIT_LIES, &format!("vmnet-cli {}", args.join(" ")))
}

async fn pace(places: &Places, operation: Operation) -> io::Result<()> {
    Pace::new(Settings::load(places)?.speed).take(operation).await;
    Ok(())
}

/// Says nothing, as no sample of it is known.
async fn configure(places: &Places) -> io::Result<u8> {
    pace(places, Operation::NetworksConfigure).await?;
    if faults::strikes(places, faults::NETWORK_CONFIGURE_FAILS, "") {
        return Ok(FAILED);
    }
    configure::configure(places)?;
    Ok(0)
}

async fn start(places: &Places, screen: &mut Screen) -> io::Result<u8> {
    pace(places, Operation::NetworksStart).await?;
    let view = windows_view(places)?;
    let lies = faults::strikes(places, faults::NETWORK_START_LIES, "");
    let networks = network::start(places, if lies { Some(ServiceKind::Dhcp) } else { None })?;
    let mut all = true;
    for service in network::services(networks.configured()) {
        let runs = network::services(networks.all_running()).contains(&service);
        all &= runs;
        screen.line(&started(service, runs));
    }
    screen.line(if all { "Started all configured services on all networks" } else { SOME_FAILED });
    if let Some(view) = view {
        let before = files::read(&places.networking())?.unwrap_or_default();
        inside::networking_rewritten(before.as_bytes(), view.as_bytes());
        files::write(&places.networking(), view)?;
        configure::configure(places)?;
        network::start(places, None)?;
    }
    // It exits with 0 even so: only its words tell (facts/fusion-networking.md §7).
    Ok(0)
}

/// Returns the database as Fusion's window read it before the change, if the window is about to apply that again.
fn windows_view(places: &Places) -> io::Result<Option<String>> {
    let applies = Settings::load(places)?.window_open || faults::strikes(places, faults::UI_OVERWRITES, "");
    Ok(if applies { Some(Networks::load(places)?.seen().to_owned()) } else { None })
}

fn started(Service { vmnet, kind }: Service, runs: bool) -> String {
    match (kind, runs) {
        (ServiceKind::Adapter, true) => format!("Enabled hostonly virtual adapter on vmnet{vmnet}"),
        (ServiceKind::Adapter, false) => format!("Failed to enable hostonly virtual adapter on vmnet{vmnet}"),
        (_, true) => format!("Started {} service on vmnet{vmnet}", name(kind)),
        (_, false) => format!("Failed to start {} service on vmnet{vmnet}", name(kind)),
    }
}

/// Recent versions do not mention the adapters (facts/fusion-networking.md §2.2).
async fn stop(places: &Places, screen: &mut Screen) -> io::Result<u8> {
    pace(places, Operation::NetworksStop).await?;
    let before = network::stop(places)?;
    for (vmnet, network) in before.all_running() {
        if network.dhcp {
            screen.line(&format!("Stopped DHCP service on vmnet{vmnet}"));
        }
        if network.nat {
            screen.line(&format!("Stopped NAT service on vmnet{vmnet}"));
        }
    }
    screen.line("Stopped all configured services on all networks");
    Ok(0)
}

/// Adapters are "disabled" while all is well: there is no vmnetN interface on macOS 11 and later.
fn status(places: &Places, screen: &mut Screen) -> io::Result<u8> {
    let networks = Networks::load(places)?;
    let running = network::services(networks.all_running());
    let configured = network::services(networks.configured());
    // Its exit status is the same when it says nothing, as it may do for who is not root (§8).
    let silent = faults::strikes(places, faults::STATUS_SILENT, "");
    for service in configured.iter().filter(|_| !silent) {
        let Service { vmnet, kind } = *service;
        let state = if running.contains(service) { "running" } else { "not running" };
        screen.line(&match kind {
            ServiceKind::Adapter => format!("Hostonly virtual adapter on vmnet{vmnet} is disabled"),
            _ => format!("{} service on vmnet{vmnet} is {state}", name(kind)),
        });
    }
    let all = configured.iter().all(|service| running.contains(service));
    Ok(if all && !running.is_empty() { 0 } else { 1 })
}

fn name(kind: ServiceKind) -> &'static str {
    match kind {
        ServiceKind::Nat => "NAT",
        ServiceKind::Dhcp => "DHCP",
        ServiceKind::Adapter => "hostonly virtual adapter",
    }
}
