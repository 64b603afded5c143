//! Who has which address and MAC on the simulated networks: the one place that says so.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

/// The one address of the internet, of the range that is set apart for tests of networks (RFC 2544).
pub const INTERNET: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 1);
/// Places of a home router's pool within the LAN, as far as that is large enough: low addresses are the user's own.
const POOL: (u32, u32) = (100, 199);

/// The home network.
#[derive(Clone, Copy, Debug)]
pub struct Lan(pub Ipv4Net);

impl Lan {
    pub fn router(self) -> Ipv4Addr {
        nth(self.0, 1)
    }

    pub fn mac(self) -> Ipv4Addr {
        nth(self.0, 2)
    }

    /// Returns the first and last address that the router gives to whoever asks.
    pub fn pool(self) -> (Ipv4Addr, Ipv4Addr) {
        let last = u32::from(self.0.broadcast()) - u32::from(self.0.network()) - 1;
        let first = if last > POOL.0 { POOL.0 } else { last.min(3) };
        (nth(self.0, first), nth(self.0, last.min(POOL.1)))
    }
}

/// One of Fusion's networks, by its number and subnet (facts/fusion-networking.md §1.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VmnetPlaces {
    pub number: u8,
    pub subnet: Ipv4Net,
}

impl VmnetPlaces {
    pub fn mac(self) -> Ipv4Addr {
        nth(self.subnet, 1)
    }

    pub fn nat(self) -> Ipv4Addr {
        nth(self.subnet, 2)
    }

    /// Returns the address of the DHCP server where it has no other's.
    pub fn dhcp(self) -> Ipv4Addr {
        u32::from(self.subnet.broadcast()).wrapping_sub(1).into()
    }
}

/// Returns the MAC of the Mac's own interface on a vmnet, which its dhcpd.conf names.
pub fn mac_of_adapter(vmnet: u8) -> String {
    format!("00:50:56:c0:00:{vmnet:02x}")
}

/// Returns the MAC of a vmnet's services: always the same, so that guests' ARP tables stay right.
pub fn mac_of_services(vmnet: u8) -> String {
    format!("00:50:56:e0:00:{vmnet:02x}")
}

/// The Mac's MAC on the LAN.
pub const MAC_ON_LAN: &str = "3c:22:fb:00:00:02";
/// The router's MAC.
pub const MAC_OF_ROUTER: &str = "3c:22:fb:00:00:01";

/// The link between a vmnet's NAT and the Mac: both ends, with the length of their prefix.
pub fn nat_link(vmnet: u8) -> (Ipv4Addr, Ipv4Addr, u8) {
    (Ipv4Addr::new(169, 254, vmnet, 1), Ipv4Addr::new(169, 254, vmnet, 2), 30)
}

/// Returns the address at this place of a subnet.
pub fn nth(subnet: Ipv4Net, place: u32) -> Ipv4Addr {
    u32::from(subnet.network()).wrapping_add(place).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_routers_pool_fits_its_network() {
        let pool = |net: &str| Lan(net.parse().unwrap()).pool();
        let at = |last| Ipv4Addr::new(192, 168, 68, last);
        assert_eq!(pool("192.168.68.0/24"), (at(100), at(199)));
        assert_eq!(pool("192.168.68.0/22"), (at(100), at(199)));
        assert_eq!(pool("192.168.68.0/25"), (at(100), at(126)));
        assert_eq!(pool("192.168.68.0/29"), (at(3), at(6)));
    }
}
