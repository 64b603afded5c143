//! `dhcpd.conf`, as Fusion derives it from its networking file, in the dialect of ISC's DHCP 2
//! (facts/fusion-networking.md §3.1).

use std::fmt::Write;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use super::time::Moment;
use crate::formats::mac::Mac;

const START: &str = "###### VMNET DHCP Configuration. Start of \"DO NOT MODIFY SECTION\" #####";
const END: &str = "####### VMNET DHCP Configuration. End of \"DO NOT MODIFY SECTION\" #######";
/// Seconds of a first lease and of a renewed one.
const DEFAULT_LEASE: u32 = 1800;
const MAX_LEASE: u32 = 7200;

/// What a network's `dhcpd.conf` is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DhcpdConf<'a> {
    pub vmnet: u8,
    pub subnet: Ipv4Net,
    /// Whether the network has NAT, so that guests get a router, and a name server on the same address.
    pub nat: bool,
    pub reservations: &'a [(Mac, Ipv4Addr)],
    /// Seconds since 1970, for the comment.
    pub written_at: u64,
}

/// Returns the first and last address that Fusion leases by itself: the upper half without the broadcast
/// address, so .128 to .254 of a /24 (facts/fusion-networking.md §1.4; other sizes are inferred).
pub fn pool(subnet: Ipv4Net) -> (Ipv4Addr, Ipv4Addr) {
    let (network, broadcast) = (u32::from(subnet.network()), u32::from(subnet.broadcast()));
    let first = network + (broadcast - network) / 2 + 1;
    (first.into(), broadcast.saturating_sub(1).max(first).into())
}

/// Returns the address at this place of the subnet, such as 2 for .2 of a /24.
pub(super) fn nth(subnet: Ipv4Net, place: u32) -> Ipv4Addr {
    u32::from(subnet.network()).wrapping_add(place).into()
}

impl DhcpdConf<'_> {
    /// Returns the file's text. The user's area, below the managed section, is taken over from the old text.
    pub fn render(&self, old: Option<&str>) -> String {
        let mut text = String::new();
        self.write(&mut text).expect("writing to a string cannot fail");
        let user_area = old.and_then(|old| Some(old.split_once(END)?.1));
        text + user_area.unwrap_or("\n")
    }

    fn write(&self, out: &mut String) -> std::fmt::Result {
        let Self { vmnet, subnet, .. } = self;
        let Moment { year, month, day, hour, minute, second, .. } = Moment::of(self.written_at);
        writeln!(out, "# Configuration file for the DHCP server of vmnet{vmnet}.")?;
        writeln!(out, "#\n# The section between the two markers is made anew whenever the networks are")?;
        writeln!(out, "# configured; what stands below it is yours.\n#")?;
        writeln!(out, "{START}\n# Written at: {month:02}/{day:02}/{year} {hour:02}:{minute:02}:{second:02}")?;
        writeln!(
            out,
            "allow unknown-clients;\ndefault-lease-time {DEFAULT_LEASE};\nmax-lease-time {MAX_LEASE};\n"
        )?;
        let (first, last) = pool(*subnet);
        let server = nth(*subnet, if self.nat { 2 } else { 1 });
        writeln!(out, "subnet {} netmask {} {{", subnet.network(), subnet.netmask())?;
        writeln!(out, "\trange {first} {last};")?;
        writeln!(out, "\toption broadcast-address {};", subnet.broadcast())?;
        writeln!(out, "\toption domain-name-servers {server};\n\toption domain-name localdomain;")?;
        writeln!(out, "\tdefault-lease-time {DEFAULT_LEASE};\n\tmax-lease-time {MAX_LEASE};")?;
        if self.nat {
            writeln!(out, "\toption netbios-name-servers {server};\n\toption routers {server};")?;
        }
        writeln!(out, "}}\nhost vmnet{vmnet} {{\n\thardware ethernet 00:50:56:C0:00:{vmnet:02X};")?;
        writeln!(out, "\tfixed-address {};", nth(*subnet, 1))?;
        writeln!(out, "\toption domain-name-servers 0.0.0.0;\n\toption domain-name \"\";")?;
        writeln!(out, "\toption routers 0.0.0.0;\n}}")?;
        for (number, (mac, address)) in self.reservations.iter().enumerate() {
            // How Fusion labels these blocks is not known; labels must only differ.
            writeln!(out, "host vmnet{vmnet}-{number} {{")?;
            writeln!(out, "\thardware ethernet {};", mac.to_string().to_uppercase())?;
            writeln!(out, "\tfixed-address {address};\n}}")?;
        }
        out.push_str(END);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::dhcp::hosts;

    fn subnet() -> Ipv4Net {
        "10.10.0.0/24".parse().unwrap()
    }

    #[test]
    fn the_pool_of_the_documents_network_is_the_documents() {
        assert_eq!(pool(subnet()), (Ipv4Addr::new(10, 10, 0, 128), Ipv4Addr::new(10, 10, 0, 254)));
        let half = "10.10.0.0/25".parse().unwrap();
        assert_eq!(pool(half), (Ipv4Addr::new(10, 10, 0, 64), Ipv4Addr::new(10, 10, 0, 126)));
        for tiny in ["10.0.0.0/31", "10.0.0.0/32", "0.0.0.0/0"] {
            pool(tiny.parse().unwrap());
        }
    }

    #[test]
    fn a_dhcpd_conf_has_the_reservations_and_keeps_the_users_area() {
        let reservations = [(Mac::new([0, 0x50, 0x56, 0, 0x0b, 0x83]), Ipv4Addr::new(10, 10, 0, 131))];
        let conf = DhcpdConf {
            vmnet: 2,
            subnet: subnet(),
            nat: true,
            reservations: &reservations,
            written_at: 1_727_225_054,
        };
        let old = format!(
            "stale\n{END}\n# mine\nhost web {{ hardware ethernet 0:c:29:0:0:1; fixed-address 10.10.0.9; }}\n"
        );
        let text = conf.render(Some(&old));
        assert!(text.contains("# Written at: 09/25/2024 00:44:14\n"), "{text}");
        assert!(text.contains("\trange 10.10.0.128 10.10.0.254;\n") && text.contains("routers 10.10.0.2;"));
        assert!(
            text.ends_with("# mine\nhost web { hardware ethernet 0:c:29:0:0:1; fixed-address 10.10.0.9; }\n")
        );
        assert_eq!(conf.render(Some(&text)), text);
        let names: Vec<_> = hosts(&text).into_iter().map(|host| (host.name, host.address)).collect();
        let expected = [("vmnet2", [10, 10, 0, 1]), ("vmnet2-0", [10, 10, 0, 131]), ("web", [10, 10, 0, 9])];
        assert_eq!(names, expected.map(|(name, address)| (name.to_owned(), Ipv4Addr::from(address))));
        assert_eq!(hosts(&text)[1].mac, reservations[0].0);
    }

    #[test]
    fn a_host_only_network_has_no_router() {
        let conf = DhcpdConf { vmnet: 12, subnet: subnet(), nat: false, reservations: &[], written_at: 0 };
        let text = conf.render(None);
        assert!(text.contains("domain-name-servers 10.10.0.1;") && !text.contains("routers 10"), "{text}");
        assert!(text.contains("00:50:56:C0:00:0C"));
        assert!(text.ends_with("#######\n"));
    }
}
