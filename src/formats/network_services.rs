//! The Mac's network services with an address, as `system_profiler -xml SPNetworkDataType` tells them: a property list.
//!
//! Its keys are those that munkireport reads (`munkireport/network`, `scripts/networkinfo.py`); the values are those of a
//! Mac that was asked (`Jinjinov/Hardware.Info`, the text form in a comment of its macOS part).

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use serde::Deserialize;

/// A service that has an IPv4 address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// As System Settings show it, such as `Wi-Fi`.
    pub name: String,
    /// Such as `en0`.
    pub interface: String,
    pub wireless: bool,
    pub address: Ipv4Addr,
    pub subnet: Ipv4Net,
    pub router: Option<Ipv4Addr>,
    pub dns: Vec<Ipv4Addr>,
}

#[derive(Deserialize)]
struct Part {
    #[serde(rename = "_items", default)]
    items: Vec<Item>,
}

#[derive(Deserialize)]
struct Item {
    #[serde(rename = "_name", default)]
    name: String,
    #[serde(default)]
    interface: String,
    #[serde(default)]
    hardware: String,
    #[serde(rename = "IPv4", default)]
    ipv4: Ipv4,
    #[serde(rename = "DNS", default)]
    dns: Dns,
    #[serde(rename = "spnetwork_service_order", default)]
    order: i64,
}

#[derive(Default, Deserialize)]
struct Ipv4 {
    #[serde(rename = "Addresses", default)]
    addresses: Vec<String>,
    #[serde(rename = "SubnetMasks", default)]
    masks: Vec<String>,
    #[serde(rename = "Router")]
    router: Option<String>,
}

#[derive(Default, Deserialize)]
struct Dns {
    #[serde(rename = "ServerAddresses", default)]
    servers: Vec<String>,
}

/// Reads the property list; services come in the order in which macOS prefers them. None if it is no such list.
pub fn parse(bytes: &[u8]) -> Option<Vec<Service>> {
    let parts: Vec<Part> = plist::from_bytes(bytes).ok()?;
    let mut items: Vec<Item> = parts.into_iter().flat_map(|part| part.items).collect();
    items.sort_by_key(|item| item.order);
    Some(items.into_iter().filter_map(service).collect())
}

fn service(item: Item) -> Option<Service> {
    let address: Ipv4Addr = item.ipv4.addresses.first()?.parse().ok()?;
    // A tunnel has an address and no mask.
    let mask: Ipv4Addr = item.ipv4.masks.first()?.parse().ok()?;
    Some(Service {
        name: item.name,
        interface: item.interface,
        wireless: item.hardware == "AirPort",
        address,
        subnet: Ipv4Net::with_netmask(address, mask).ok()?.trunc(),
        router: item.ipv4.router.and_then(|router| router.parse().ok()),
        dns: item.dns.servers.iter().filter_map(|server| server.parse().ok()).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A service as macOS writes it, shortened.
    fn item(name: &str, interface: &str, hardware: &str, order: i64, ipv4: &str) -> String {
        format!(
            "<dict><key>_name</key><string>{name}</string>\
             <key>DNS</key><dict><key>DomainName</key><string>home</string><key>ServerAddresses</key>\
             <array><string>fe80::1</string><string>192.168.0.1</string></array></dict>\
             <key>Ethernet</key><dict><key>MAC Address</key><string>08:00:27:5f:7a:7e</string></dict>\
             <key>hardware</key><string>{hardware}</string><key>interface</key><string>{interface}</string>\
             <key>IPv4</key><dict>{ipv4}</dict><key>IPv6</key><dict><key>ConfigMethod</key><string>Automatic</string></dict>\
             <key>spnetwork_service_order</key><integer>{order}</integer><key>type</key><string>{hardware}</string></dict>"
        )
    }

    fn ipv4(address: &str, mask: &str) -> String {
        format!(
            "<key>Addresses</key><array><string>{address}</string></array>\
             <key>ARPResolvedHardwareAddress</key><string>52:54:00:12:35:02</string>\
             <key>ARPResolvedIPAddress</key><string>10.0.2.2</string><key>ConfigMethod</key><string>DHCP</string>\
             <key>ConfirmedInterfaceName</key><string>en0</string><key>Router</key><string>10.0.2.2</string>\
             <key>SubnetMasks</key><array><string>{mask}</string></array>"
        )
    }

    fn list(items: &str) -> Vec<u8> {
        format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<plist version=\"1.0\"><array><dict><key>_dataType</key>\
             <string>SPNetworkDataType</string><key>_items</key><array>{items}</array></dict></array></plist>"
        )
        .into_bytes()
    }

    #[test]
    fn services_with_an_address_come_in_the_systems_own_order() {
        let tunnel = "<key>Addresses</key><array><string>10.8.0.2</string></array>";
        let text = [
            item("Wi-Fi", "en0", "AirPort", 1, &ipv4("192.168.68.20", "255.255.255.0")),
            item("Ethernet", "en4", "Ethernet", 0, &ipv4("10.0.2.15", "255.255.252.0")),
            item(
                "Thunderbolt Bridge",
                "bridge0",
                "Ethernet",
                2,
                "<key>ConfigMethod</key><string>DHCP</string>",
            ),
            item("VPN", "utun4", "VPN", 3, tunnel),
        ]
        .concat();
        let found = parse(&list(&text)).unwrap();
        let shown: Vec<_> =
            found.iter().map(|it| (it.name.as_str(), it.subnet.to_string(), it.wireless)).collect();
        assert_eq!(
            shown,
            [("Ethernet", "10.0.0.0/22".to_owned(), false), ("Wi-Fi", "192.168.68.0/24".to_owned(), true)]
        );
        assert_eq!(found[0].router, Some(Ipv4Addr::new(10, 0, 2, 2)));
        assert_eq!(found[0].dns, [Ipv4Addr::new(192, 168, 0, 1)], "IPv6 servers are left out");
    }

    #[test]
    fn what_is_no_such_list_is_none() {
        assert_eq!(parse(&list("")), Some(Vec::new()));
        for text in ["", "<plist/>", "Network:\n\n    Ethernet:\n"] {
            assert_eq!(parse(text.as_bytes()), None, "{text}");
        }
    }
}
