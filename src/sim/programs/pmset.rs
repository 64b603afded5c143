//! `pmset -g custom` of macOS: when the simulated Mac goes to sleep by itself.

use super::Screen;
use crate::sim::places::Places;
use crate::sim::settings::Settings;

const USAGE: u8 = 64;
/// Minutes until a Mac sleeps that nobody has told otherwise: `mac-sleeps` is such a one.
const BY_DEFAULT: u32 = 1;

/// Prints the settings for each source of power.
pub fn run(places: &Places, args: &[String], screen: &mut Screen) -> u8 {
    if args != ["-g", "custom"] {
        screen.error_line("usage: pmset -g custom");
        return USAGE;
    }
    let sleeps = match Settings::load(places) {
        Ok(settings) => settings.sleeps,
        Err(error) => {
            screen.error_line(&format!("pmset: {error}"));
            return 1;
        }
    };
    for (source, sleep) in [("Battery", BY_DEFAULT), ("AC", if sleeps { BY_DEFAULT } else { 0 })] {
        screen.line(&format!("{source} Power:"));
        for (name, value) in [
            ("Sleep On Power Button", 1),
            ("displaysleep", 10),
            ("disksleep", 10),
            ("sleep", sleep),
            ("womp", 0),
        ] {
            screen.line(&format!(" {name:<20} {value}"));
        }
    }
    0
}
