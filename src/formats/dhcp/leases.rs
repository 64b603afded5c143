//! Leases files: that of Fusion's own DHCP server, and Apple's.

use std::net::Ipv4Addr;

use super::conf::tokens;
use super::time::{self, Moment};
use crate::formats::mac::Mac;

/// A lease. Addresses that are reserved are never written down as leases (facts/fusion-networking.md §4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    pub address: Ipv4Addr,
    pub mac: Mac,
    /// Seconds since 1970; 0 where the file does not say.
    pub starts: u64,
    /// Seconds since 1970; the greatest number where it never ends.
    pub ends: u64,
    pub hostname: Option<String>,
}

impl Lease {
    /// Returns the lease as a block to append to a leases file.
    pub fn render(&self) -> String {
        let moment = |unix: u64| {
            let Moment { year, month, day, hour, minute, second, weekday } = Moment::of(unix);
            format!("{weekday} {year}/{month:02}/{day:02} {hour:02}:{minute:02}:{second:02}")
        };
        let Self { address, mac, starts, ends, hostname } = self;
        let ends = if *ends == u64::MAX { "never".to_owned() } else { moment(*ends) };
        let hostname = hostname
            .as_deref()
            .map(|name| format!("\tclient-hostname \"{}\";\n", name.replace('"', "")))
            .unwrap_or_default();
        let starts = moment(*starts);
        format!(
            "lease {address} {{\n\tstarts {starts};\n\tends {ends};\n\thardware ethernet {mac};\n\tuid 01:{mac};\n{hostname}}}\n"
        )
    }
}

/// Reads a leases file of Fusion's DHCP server, oldest block first. It is a log: addresses and MACs repeat.
/// Blocks without a MAC or a start, and abandoned ones, are left out; unknown statements are passed over.
pub fn leases(text: &str) -> Vec<Lease> {
    let tokens = tokens(text);
    let mut leases = Vec::new();
    let mut rest = tokens.as_slice();
    while let Some(at) = rest.iter().position(|token| token == "lease") {
        rest = &rest[at + 1..];
        let [address, open, body @ ..] = rest else { break };
        if open != "{" {
            continue;
        }
        // A block that was cut off in writing does not count, even if more blocks follow.
        let Some(end) = body.iter().position(|token| token == "}" || token == "lease") else { break };
        if body[end] == "lease" {
            rest = &body[end..];
            continue;
        }
        if let Ok(address) = address.parse() {
            leases.extend(lease(address, &body[..end]));
        }
        rest = &body[end + 1..];
    }
    leases
}

fn lease(address: Ipv4Addr, body: &[String]) -> Option<Lease> {
    let (mut mac, mut starts, mut ends, mut hostname) = (None, None, None, None);
    for statement in body.split(|token| token == ";") {
        let words: Vec<&str> = statement.iter().map(String::as_str).collect();
        match words[..] {
            ["starts", _weekday, date, clock] => starts = time::parse(date, clock),
            ["ends", _weekday, date, clock] => ends = time::parse(date, clock),
            ["ends", "never"] => ends = Some(u64::MAX),
            ["hardware", "ethernet", value] => mac = value.parse().ok(),
            ["client-hostname" | "hostname", name] => hostname = Some(name.trim_matches('"').to_owned()),
            ["abandoned"] => return None,
            _ => {}
        }
    }
    Some(Lease { address, mac: mac?, starts: starts?, ends: ends?, hostname })
}

/// Reads Apple's leases file: blocks of `key=value` lines in any order, without a start
/// (facts/fusion-networking.md §3.4).
pub fn apple_leases(text: &str) -> Vec<Lease> {
    let mut leases = Vec::new();
    for block in text.split('{').skip(1) {
        let Some((block, _)) = block.split_once('}') else { continue };
        let (mut mac, mut address, mut ends, mut hostname) = (None, None, None, None);
        for line in block.lines() {
            match line.trim().split_once('=') {
                Some(("ip_address", value)) => address = value.parse().ok(),
                // The number before the comma is the hardware's kind: 1 is Ethernet.
                Some(("hw_address", value)) => {
                    mac = value.strip_prefix("1,").and_then(|mac| mac.parse().ok())
                }
                Some(("lease", value)) => ends = u64::from_str_radix(value.trim_start_matches("0x"), 16).ok(),
                Some(("name", value)) => hostname = Some(value.to_owned()),
                _ => {}
            }
        }
        if let (Some(mac), Some(address)) = (mac, address) {
            // Without a lease time the entry is permanent.
            leases.push(Lease { address, mac, starts: 0, ends: ends.unwrap_or(u64::MAX), hostname });
        }
    }
    leases
}

/// Returns the lease of this MAC that is valid now (seconds since 1970) and began last; of equals, the last
/// in the file. An address that was leased to another MAC since is no longer this one's.
pub fn newest_valid(leases: &[Lease], mac: Mac, now: u64) -> Option<&Lease> {
    let valid = |lease: &&Lease| lease.starts <= now && now < lease.ends;
    let newest =
        leases.iter().filter(valid).filter(|lease| lease.mac == mac).max_by_key(|lease| lease.starts)?;
    let holder = leases
        .iter()
        .filter(valid)
        .filter(|lease| lease.address == newest.address)
        .max_by_key(|lease| lease.starts)?;
    (holder.mac == mac).then_some(newest)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LOG: &str = "# dhcpd leases\nlease 192.168.215.131 {\n\tstarts 3 2024/09/25 00:44:14;\n\tends 3 2024/09/25 01:14:14;\n\
        \thardware ethernet 00:0c:29:f5:a4:74;\n\tuid ff:2b:94:34:c1:00:02;\n\tclient-hostname \"web\";\n}\n\
        lease 192.168.215.131 { starts 3 2024/09/25 00:59:14;ends 3 2024/09/25\r\n02:59:14; frobnicate 1 2; hardware\nethernet 00:0C:29:F5:A4:74; }\n\
        lease 192.168.215.132 {\n\tstarts 3 2024/09/25 00:44:14;\n\tends 3 2024/09/25 01:14:14;\n\tabandoned;\n}\n\
        lease 192.168.215.133 {\n\tstarts 3 2024/09/25 00:44:14;\n";
    const START: u64 = 1_727_225_054;

    fn mac() -> Mac {
        "00:0c:29:f5:a4:74".parse().unwrap()
    }

    #[test]
    fn a_log_of_leases_is_read_in_order() {
        let found = leases(LOG);
        assert_eq!(found.len(), 2);
        let after_a_crash = format!("{LOG}{}", found[0].render());
        assert_eq!(leases(&after_a_crash), [found.clone(), vec![found[0].clone()]].concat());
        assert_eq!((found[0].starts, found[0].ends), (START, START + 1800));
        assert_eq!(found[0].hostname.as_deref(), Some("web"));
        assert_eq!((found[1].starts, found[1].ends), (START + 900, START + 8100));
    }

    #[test]
    fn the_newest_valid_lease_counts() {
        let found = leases(LOG);
        assert_eq!(newest_valid(&found, mac(), START + 901), Some(&found[1]));
        assert_eq!(newest_valid(&found, mac(), START + 10), Some(&found[0]));
        assert_eq!(newest_valid(&found, mac(), START + 8100), None);
        assert_eq!(newest_valid(&found, Mac::new([0; 6]), START + 10), None);
        let stolen = Lease { mac: Mac::new([1; 6]), starts: START + 1000, ..found[1].clone() };
        let found = [found, vec![stolen]].concat();
        assert_eq!(newest_valid(&found, mac(), START + 1001), None, "the address went to another");
    }

    #[test]
    fn apples_leases_are_read_without_leading_zeros() {
        let text = "{\n\tname=a=b\n\tip_address=192.168.64.2\n\thw_address=1,d:ea:d0:66:77:8\n\tidentifier=1,d:ea:d0:66:77:8\n\tlease=0x5fd72edc\n}\n\
                    {\n\tip_address=192.168.64.3\n\thw_address=1,0:50:56:0:0:1\n}\n{\n\tip_address=bad\n}\n";
        let found = apple_leases(text);
        assert_eq!(found.len(), 2);
        assert_eq!((found[0].mac.to_string().as_str(), found[0].ends), ("0d:ea:d0:66:77:08", 0x5fd7_2edc));
        assert_eq!(found[0].hostname.as_deref(), Some("a=b"));
        assert_eq!(newest_valid(&found, found[1].mac, START).map(|lease| lease.address.octets()[3]), Some(3));
    }

    proptest! {
        #[test]
        fn an_appended_block_is_read_back(address: [u8; 4], mac: [u8; 6], starts in 0_u64..4_000_000_000, length in 0_u64..10_000, hostname in proptest::option::of("[a-z0-9-]{1,12}")) {
            let lease = Lease { address: address.into(), mac: Mac::new(mac), starts, ends: starts + length, hostname };
            prop_assert_eq!(leases(&(LOG.split_inclusive("}\n").next().unwrap().to_owned() + &lease.render()))[1..].to_vec(), vec![lease]);
        }

        #[test]
        fn any_text_can_be_read(text in "(lease|[{};#\" \n]|1\\.2\\.3\\.4|starts 3 2024/09/25 00:44:14|hw_address=1,|\\PC){0,30}") {
            leases(&text);
            apple_leases(&text);
        }
    }
}
