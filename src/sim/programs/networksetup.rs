//! `networksetup -listallhardwareports` of macOS: which of the Mac's interfaces is what.

use super::Screen;
use crate::sim::places::Places;
use crate::sim::settings::Settings;

const USAGE: u8 = 4;

/// Prints every piece of network hardware.
pub async fn run(places: &Places, args: &[String], screen: &mut Screen) -> u8 {
    if args != ["-listallhardwareports"] {
        screen.line("networksetup -listallhardwareports");
        return USAGE;
    }
    let settings = match Settings::load(places) {
        Ok(settings) => settings,
        Err(error) => {
            screen.error_line(&format!("networksetup: {error}"));
            return 1;
        }
    };
    // The Mac's way into its home network is en0, whatever that is.
    let (first, second) =
        if settings.wifi { ("Wi-Fi", "Ethernet Adapter (en4)") } else { ("Ethernet", "Wi-Fi") };
    let ports = [
        (first, "en0", "80:a9:97:0b:1d:2e"),
        (second, if settings.wifi { "en4" } else { "en1" }, "80:a9:97:0b:1d:2f"),
        ("Thunderbolt Bridge", "bridge0", "36:47:9c:4b:1d:00"),
    ];
    for (name, device, mac) in ports {
        for line in [
            "",
            &format!("Hardware Port: {name}"),
            &format!("Device: {device}"),
            &format!("Ethernet Address: {mac}"),
        ] {
            screen.line(line);
        }
    }
    for line in ["", "VLAN Configurations", "==================="] {
        screen.line(line);
    }
    0
}
