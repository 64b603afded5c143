//! `vmnet-cfgcli`: restarts one network's DHCP server alone, which spares every other network.
//!
//! Its exit statuses are the wrong way round: 1 is success, 0 is failure (facts/fusion-networking.md §2.3).

use std::time::Duration;

use super::Log;
use super::services::Programs;

pub(super) const PROGRAM: &str = "vmnet-cfgcli";
const SUCCESS: i32 = 1;
const DHCP: &str = "dhcp";

/// Stops a network's DHCP server: it takes up a new configuration only while it does not run.
pub(super) async fn stop(
    programs: &Programs,
    vmnet: u8,
    limit: Duration,
    log: &mut Log,
) -> Result<(), String> {
    verb(programs, &["servicestop", &network(vmnet), DHCP], limit, log).await
}

/// Derives a network's DHCP configuration from the file, and starts its server, with the former one if that fails.
pub(super) async fn start(
    programs: &Programs,
    vmnet: u8,
    limit: Duration,
    log: &mut Log,
) -> Result<(), String> {
    let derived = verb(programs, &["updatedhcpfromconfig", &network(vmnet)], limit, log).await;
    let started = verb(programs, &["servicestart", &network(vmnet), DHCP], limit, log).await;
    derived.and(started)
}

fn network(vmnet: u8) -> String {
    format!("vmnet{vmnet}")
}

async fn verb(programs: &Programs, args: &[&str], limit: Duration, log: &mut Log) -> Result<(), String> {
    let finished = programs.run(PROGRAM, args, limit).await.map_err(|error| error.to_string())?;
    log.ran(PROGRAM, args, &finished);
    if finished.status.code() == Some(SUCCESS) {
        return Ok(());
    }
    Err(finished.error(&programs.fusion.program(PROGRAM), args).to_string())
}
