//! `sysctl -n hw.memsize hw.ncpu` of macOS: what the simulated Mac has.

use super::Screen;
use crate::sim::places::Places;
use crate::sim::settings::Settings;

const USAGE: u8 = 1;
/// As many processors as a large Mac of these years has.
const CPUS: u32 = 12;
const BYTES_OF_MIB: u64 = 1024 * 1024;

/// Prints memory in bytes, and processors.
pub fn run(places: &Places, args: &[String], screen: &mut Screen) -> u8 {
    if args != ["-n", "hw.memsize", "hw.ncpu"] {
        screen.error_line("usage: sysctl -n hw.memsize hw.ncpu");
        return USAGE;
    }
    match Settings::load(places) {
        Ok(settings) => {
            screen.line(&(u64::from(settings.memory_mib) * BYTES_OF_MIB).to_string());
            screen.line(&CPUS.to_string());
            0
        }
        Err(error) => {
            screen.error_line(&format!("sysctl: {error}"));
            1
        }
    }
}
