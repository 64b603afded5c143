//! `vmnet-cli`: configure, start, stop and status of all networks (facts/fusion-networking.md §2.2).

use std::io;

use super::{FAILED, Screen};
use crate::sim::faults;
use crate::sim::files;
use crate::sim::network::{self, Networks, Service, ServiceKind};
use crate::sim::pace::{Operation, Pace};
use crate::sim::places::Places;
use crate::sim::settings::Settings;

const UNCHANGED: &str = "Failed to start some/all services";

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
    ran.unwrap_or_else(|error| {
        screen.error_line(&error.to_string());
        1
    })
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
    network::configure(places)?;
    Ok(0)
}

async fn start(places: &Places, screen: &mut Screen) -> io::Result<u8> {
    pace(places, Operation::NetworksStart).await?;
    if faults::strikes(places, faults::UI_OVERWRITES, "") {
        // The window had read the database before the change.
        files::write(&places.networking(), Networks::load(places)?.seen())?;
        network::configure(places)?;
    }
    let lies = faults::strikes(places, faults::NETWORK_START_LIES, "");
    let networks = network::start(places, if lies { Some(ServiceKind::Dhcp) } else { None })?;
    let mut all = true;
    for service in network::services(networks.configured()) {
        let runs = network::services(networks.all_running()).contains(&service);
        all &= runs;
        screen.line(&started(service, runs));
    }
    screen.line(if all { "Started all configured services on all networks" } else { UNCHANGED });
    // It exits with 0 even so: only its words tell (facts/fusion-networking.md §7).
    Ok(0)
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
    for service in network::services(networks.configured()) {
        let Service { vmnet, kind } = service;
        let state = if running.contains(&service) { "running" } else { "not running" };
        screen.line(&match kind {
            ServiceKind::Adapter => format!("Hostonly virtual adapter on vmnet{vmnet} is disabled"),
            _ => format!("{} service on vmnet{vmnet} is {state}", name(kind)),
        });
    }
    let all = network::services(networks.configured()).iter().all(|service| running.contains(service));
    Ok(if all && !running.is_empty() { 0 } else { 1 })
}

fn name(kind: ServiceKind) -> &'static str {
    match kind {
        ServiceKind::Nat => "NAT",
        ServiceKind::Dhcp => "DHCP",
        ServiceKind::Adapter => "hostonly virtual adapter",
    }
}
