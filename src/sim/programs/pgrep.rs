//! `pgrep -x NAME` of macOS, for the programs of Fusion's that a Mac's owner starts and ends.

use std::io;

use super::Screen;
use crate::sim::control::{self, Reply, Request};
use crate::sim::places::Places;
use crate::sim::settings::Settings;

/// Exit statuses of pgrep: nothing found, wrong arguments, trouble.
const NOTHING: u8 = 1;
const USAGE: u8 = 2;
const TROUBLE: u8 = 3;
/// The process of Fusion's window, while it is open.
const WINDOW_PID: u32 = 612;

/// Prints the process of this name, if it runs.
pub async fn run(places: &Places, args: &[String], screen: &mut Screen) -> u8 {
    let [flag, name] = args else { return usage(screen) };
    if flag != "-x" {
        return usage(screen);
    }
    match find(places, name).await {
        Ok(Some(pid)) => {
            screen.line(&pid.to_string());
            0
        }
        Ok(None) => NOTHING,
        Err(error) => {
            screen.error_line(&format!("pgrep: {error}"));
            TROUBLE
        }
    }
}

fn usage(screen: &mut Screen) -> u8 {
    screen.error_line("usage: pgrep -x pattern");
    USAGE
}

async fn find(places: &Places, name: &str) -> io::Result<Option<u32>> {
    Ok(match name {
        "VMware Fusion" => Settings::load(places)?.window_open.then_some(WINDOW_PID),
        "vmware-vmx" => match control::ask(places, &Request::Describe).await? {
            Some(Reply::World(world)) if !world.running.is_empty() => Some(world.pid),
            _ => None,
        },
        _ => None,
    })
}
