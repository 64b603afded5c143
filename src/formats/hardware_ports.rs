//! The Mac's network hardware, as `networksetup -listallhardwareports` prints it.

/// How macOS has called its wireless cards, and calls them where it speaks German: names of ports are translated.
const WIRELESS: [&str; 3] = ["Wi-Fi", "AirPort", "WLAN"];

/// Returns the interfaces, such as `en0`, that are Wi-Fi.
pub fn wifi(text: &str) -> Vec<String> {
    let mut is_wireless = false;
    let mut devices = Vec::new();
    for line in text.lines() {
        match line.split_once(": ") {
            Some(("Hardware Port", name)) => is_wireless = WIRELESS.contains(&name.trim()),
            Some(("Device", device)) if is_wireless => devices.push(device.trim().to_owned()),
            _ => {}
        }
    }
    devices
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wireless_card_is_found_among_the_others() {
        let text = "\nHardware Port: Ethernet Adapter (en4)\nDevice: en4\nEthernet Address: 1e:00:ea:1a:2b:01\n\n\
                    Hardware Port: Wi-Fi\nDevice: en0\nEthernet Address: 80:a9:97:0b:1d:2e\n\n\
                    Hardware Port: Thunderbolt Bridge\nDevice: bridge0\nEthernet Address: 36:47:9c:4b:1d:00\n\n\
                    VLAN Configurations\n===================\n";
        assert_eq!(wifi(text), ["en0"]);
        assert_eq!(wifi(&text.replace("Wi-Fi", "WLAN")), ["en0"], "on a German Mac");
        assert_eq!(wifi("AuthorizationCreate() failed: -60008\n"), Vec::<String>::new());
    }
}
