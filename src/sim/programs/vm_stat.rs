//! `vm_stat` of macOS: the simulated Mac's memory, of which its machines have theirs and nobody else any.

use std::io;

use super::Screen;
use crate::sim::control::{self, Reply, Request};
use crate::sim::places::Places;
use crate::sim::power;
use crate::sim::settings::Settings;

/// A page of Apple Silicon's.
const PAGE: u64 = 16384;
const PAGES_OF_MIB: u64 = 1024 * 1024 / PAGE;

/// Prints the table, as far as anybody reads it.
pub async fn run(places: &Places, args: &[String], screen: &mut Screen) -> u8 {
    if !args.is_empty() {
        screen.error_line("usage: vm_stat");
        return 1;
    }
    match pages(places).await {
        Ok((free, taken)) => {
            screen.line(&format!("Mach Virtual Memory Statistics: (page size of {PAGE} bytes)"));
            for (name, count) in [
                ("Pages free", free),
                ("Pages active", taken),
                ("Pages speculative", 0),
                ("Pages purgeable", 0),
                ("File-backed pages", 0),
            ] {
                screen.line(&format!("{:<25}{:>16}.", format!("{name}:"), count));
            }
            0
        }
        Err(error) => {
            screen.error_line(&format!("vm_stat: {error}"));
            1
        }
    }
}

/// Returns how many pages are free, and how many the machines have.
async fn pages(places: &Places) -> io::Result<(u64, u64)> {
    let all = u64::from(Settings::load(places)?.memory_mib);
    let running = match control::ask(places, &Request::Describe).await? {
        Some(Reply::World(world)) => world.running,
        _ => Vec::new(),
    };
    let memory = |vmx: &std::path::PathBuf| power::open_vmx(vmx).ok()?.get("memsize")?.parse::<u64>().ok();
    let taken: u64 = running.iter().filter_map(memory).sum();
    Ok((all.saturating_sub(taken) * PAGES_OF_MIB, taken * PAGES_OF_MIB))
}
