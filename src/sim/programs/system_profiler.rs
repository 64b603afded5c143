//! `system_profiler -xml SPNetworkDataType` of macOS: the simulated Mac's network services, as a property list.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use super::Screen;
use super::netstat::LAN_INTERFACE;
use crate::sim::places::Places;
use crate::sim::settings::Settings;

const USAGE: u8 = 64;
/// The host part of the Mac's own address, cut to what fits the subnet.
const OWN_HOST: u32 = 20;

/// Prints the services.
pub fn run(places: &Places, args: &[String], screen: &mut Screen) -> u8 {
    if args != ["-xml", "SPNetworkDataType"] {
        screen.error_line("usage: system_profiler -xml SPNetworkDataType");
        return USAGE;
    }
    match Settings::load(places) {
        Ok(settings) => {
            screen.line(&list(&settings));
            0
        }
        Err(error) => {
            screen.error_line(&format!("system_profiler: {error}"));
            1
        }
    }
}

/// Returns the home network's router: its first address.
pub fn router(lan: Ipv4Net) -> Ipv4Addr {
    lan.hosts().next().unwrap_or(lan.network())
}

/// Returns the Mac's own address in its home network.
pub fn own_address(lan: Ipv4Net) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(lan.network()) | (OWN_HOST & u32::from(lan.hostmask())))
}

fn list(settings: &Settings) -> String {
    let (lan, router) = (settings.lan, router(settings.lan));
    let (name, hardware) = if settings.wifi { ("Wi-Fi", "AirPort") } else { ("Ethernet", "Ethernet") };
    let (address, mask) = (own_address(lan), lan.netmask());
    format!(
        r#"<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
<plist version="1.0">
<array>
	<dict>
		<key>_dataType</key>
		<string>SPNetworkDataType</string>
		<key>_items</key>
		<array>
			<dict>
				<key>_name</key>
				<string>{name}</string>
				<key>DNS</key>
				<dict>
					<key>ServerAddresses</key>
					<array>
						<string>{router}</string>
					</array>
				</dict>
				<key>hardware</key>
				<string>{hardware}</string>
				<key>interface</key>
				<string>{LAN_INTERFACE}</string>
				<key>ip_address</key>
				<array>
					<string>{address}</string>
				</array>
				<key>IPv4</key>
				<dict>
					<key>Addresses</key>
					<array>
						<string>{address}</string>
					</array>
					<key>ConfigMethod</key>
					<string>DHCP</string>
					<key>InterfaceName</key>
					<string>{LAN_INTERFACE}</string>
					<key>Router</key>
					<string>{router}</string>
					<key>SubnetMasks</key>
					<array>
						<string>{mask}</string>
					</array>
				</dict>
				<key>spnetwork_service_order</key>
				<integer>0</integer>
				<key>type</key>
				<string>{hardware}</string>
			</dict>
		</array>
	</dict>
</array>
</plist>"#
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::network_services;

    #[test]
    fn the_list_reads_as_a_macs() {
        let settings = Settings { wifi: true, ..Settings::default() };
        let found = network_services::parse(list(&settings).as_bytes()).unwrap();
        assert_eq!((found.len(), found[0].name.as_str(), found[0].wireless), (1, "Wi-Fi", true));
        assert_eq!((found[0].subnet, found[0].router), (settings.lan, Some(router(settings.lan))));
        assert_eq!(found[0].address, Ipv4Addr::new(192, 168, 68, 20));
    }
}
