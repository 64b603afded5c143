//! Leases files: that of Fusion's own DHCP server, and Apple's.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use super::isc::{End, pieces, words};
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
            .map(|name| format!("\tclient-hostname \"{}\";\n", name.replace(['"', '\\'], "")))
            .unwrap_or_default();
        let starts = moment(*starts);
        format!(
            "lease {address} {{\n\tstarts {starts};\n\tends {ends};\n\thardware ethernet {mac};\n\tuid 01:{mac};\n{hostname}}}\n"
        )
    }
}

/// Reads a leases file of Fusion's DHCP server, oldest block first. It is a log: addresses and MACs repeat.
///
/// Blocks without a MAC, a start or an end, abandoned ones, and those that were cut off in writing are left out;
/// unknown statements are passed over. The weekday is not looked at. Where a statement makes no sense with its line
/// breaks, they are taken to have fallen into its words (facts/fusion-networking.md §3.3).
pub fn leases(text: &str) -> Vec<Lease> {
    let mut leases = Vec::new();
    let mut open: Option<Block> = None;
    // Groups within the open block, whose statements are not its own.
    let mut depth = 0_usize;
    for piece in pieces(text) {
        if piece.end == End::Open {
            match head(&piece.text) {
                // A block within a block: the outer one was cut off when the server died.
                Some(address) => (open, depth) = (Some(Block::new(address)), 0),
                None => depth += 1,
            }
            continue;
        }
        if let Some(block) = open.as_mut().filter(|_| depth == 0) {
            block.read(&piece.text);
        }
        if piece.end == End::Close {
            match depth.checked_sub(1) {
                Some(outer) => depth = outer,
                None => leases.extend(open.take().and_then(Block::lease)),
            }
        }
    }
    leases
}

/// Reads what stands before a block's brace: `lease` and an address, perhaps after the rest of a block that was
/// cut off.
fn head(text: &str) -> Option<Option<Ipv4Addr>> {
    either(text, |words| match words {
        [.., keyword, address] if keyword.ends_with("lease") => Some(address.parse().ok()),
        _ => None,
    })
}

/// Reads words as they are, or, if that gives nothing, with line breaks taken out of them.
fn either<T>(text: &str, read: impl Fn(&[&str]) -> Option<T>) -> Option<T> {
    let read = |text: &str| {
        let words = words(text);
        read(&words.iter().map(String::as_str).collect::<Vec<_>>())
    };
    let breaks = ['\n', '\r'];
    read(text).or_else(|| text.contains(breaks).then(|| read(&text.replace(breaks, ""))).flatten())
}

/// A block as far as it is read.
#[derive(Default)]
struct Block {
    address: Option<Ipv4Addr>,
    mac: Option<Mac>,
    starts: Option<u64>,
    ends: Option<u64>,
    hostname: Option<String>,
    abandoned: bool,
}

impl Block {
    fn new(address: Option<Ipv4Addr>) -> Self {
        Self { address, ..Self::default() }
    }

    fn read(&mut self, statement: &str) {
        let moment = |words: &[&str]| match words {
            ["never"] => Some(u64::MAX),
            [_weekday, date, clock] => time::parse(date, clock),
            _ => None,
        };
        let known = either(statement, |words| {
            Some(match words {
                ["starts", rest @ ..] => Known::Starts(moment(rest)?),
                ["ends", rest @ ..] => Known::Ends(moment(rest)?),
                ["hardware", "ethernet", mac] => Known::Hardware(mac.parse().ok()?),
                ["client-hostname" | "hostname", name] => Known::Hostname(name.trim_matches('"').to_owned()),
                ["abandoned"] => Known::Abandoned,
                _ => return None,
            })
        });
        match known {
            Some(Known::Starts(moment)) => self.starts = Some(moment),
            Some(Known::Ends(moment)) => self.ends = Some(moment),
            Some(Known::Hardware(mac)) => self.mac = Some(mac),
            Some(Known::Hostname(name)) => self.hostname = Some(name),
            Some(Known::Abandoned) => self.abandoned = true,
            None => {}
        }
    }

    fn lease(self) -> Option<Lease> {
        let Self { address, mac, starts, ends, hostname, abandoned } = self;
        let lease = Lease { address: address?, mac: mac?, starts: starts?, ends: ends?, hostname };
        (!abandoned).then_some(lease)
    }
}

/// A statement that means something to us.
enum Known {
    Starts(u64),
    Ends(u64),
    Hardware(Mac),
    Hostname(String),
    Abandoned,
}

/// Reads Apple's leases file: blocks of `key=value` lines in any order, without a start; each brace has a line of
/// its own (facts/fusion-networking.md §3.4).
pub fn apple_leases(text: &str) -> Vec<Lease> {
    let mut leases = Vec::new();
    let mut block: Option<Vec<(&str, &str)>> = None;
    for line in text.split(['\n', '\r']).map(str::trim) {
        match line {
            "{" => block = Some(Vec::new()),
            "}" => leases.extend(block.take().and_then(|entries| apple_lease(&entries))),
            _ => {
                if let (Some(block), Some(entry)) = (&mut block, line.split_once('=')) {
                    block.push(entry);
                }
            }
        }
    }
    leases
}

fn apple_lease(entries: &[(&str, &str)]) -> Option<Lease> {
    let get = |key| entries.iter().rev().find(|(of, _)| *of == key).map(|(_, value)| *value);
    // The number before the comma is the hardware's kind: 1 is Ethernet.
    let mac = get("hw_address")?.strip_prefix("1,")?.parse().ok()?;
    let ends = match get("lease") {
        Some(lease) => u64::from_str_radix(lease.trim_start_matches("0x"), 16).ok()?,
        // Without a lease time the entry is permanent.
        None => u64::MAX,
    };
    let hostname = get("name").map(str::to_owned);
    Some(Lease { address: get("ip_address")?.parse().ok()?, mac, starts: 0, ends, hostname })
}

/// Returns the leases that are valid at a moment (seconds since 1970), in order of address. The file is a log, so an address
/// is whose its last block names, also where that one is a release, which ends as it starts (facts/fusion-networking.md §3.3).
pub fn valid(leases: &[Lease], now: u64) -> Vec<&Lease> {
    let begun = leases.iter().filter(|lease| lease.starts <= now);
    let last: BTreeMap<Ipv4Addr, &Lease> = begun.map(|lease| (lease.address, lease)).collect();
    last.into_values().filter(|lease| now < lease.ends).collect()
}

/// Returns the lease of this MAC that is valid at a moment (seconds since 1970) and began last. An address that was leased to
/// another MAC since is no longer this one's.
///
/// Hostnames are not compared: Vagrant gives up on a MAC with two of them, but a guest that is renamed after its
/// first boot, as by cloud-init, has two and is still one guest.
pub fn newest_valid(leases: &[Lease], mac: Mac, now: u64) -> Option<&Lease> {
    valid(leases, now).into_iter().filter(|lease| lease.mac == mac).max_by_key(|lease| lease.starts)
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
    fn line_breaks_within_words_and_odd_blocks_are_tolerated() {
        let text = "server-duid \"a { b\";\nlease 192.168.\r\n215.7 {\nstarts 57005 2024/09/\n25 00:44:14;ends never;\nhard\rware ethernet 00:0c:29:\n00:00:01;\n\
            client-hostname \"a;}\\\"b\"; on commit { abandoned; } bind\ning state free }\n\
            lease 1.2.3.4 { starts 3 2024/09/25 00:44:14; ends 3 2024/09/25 00:44:14; hardware ethernet 00:0c:29:00; }\n";
        let found = leases(text);
        assert_eq!(found.len(), 1, "four bytes are no MAC: {found:?}");
        assert_eq!((found[0].address.octets()[3], found[0].starts, found[0].ends), (7, START, u64::MAX));
        assert_eq!(found[0].hostname.as_deref(), Some("a;}\\\"b"));
    }

    #[test]
    fn the_newest_valid_lease_counts() {
        let found = leases(LOG);
        assert_eq!(newest_valid(&found, mac(), START + 901), Some(&found[1]));
        assert_eq!(newest_valid(&found, mac(), START + 10), Some(&found[0]));
        assert_eq!(newest_valid(&found, mac(), START + 8100), None);
        assert_eq!(newest_valid(&found, Mac::new([0; 6]), START + 10), None);
        let released = Lease { starts: START + 1000, ends: START + 1000, ..found[1].clone() };
        let given_back = [found.clone(), vec![released]].concat();
        assert_eq!(newest_valid(&given_back, mac(), START + 999), Some(&found[1]));
        assert_eq!(newest_valid(&given_back, mac(), START + 1001), None, "the guest gave it back");
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
