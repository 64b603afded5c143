//! `dhcpd.conf` and `nat.conf`, as Fusion derives them from its networking file (facts/fusion-networking.md §3).

use std::fmt::Write;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use super::time::Moment;
use crate::formats::mac::Mac;
use crate::formats::networking::{PortForward, Protocol};

const START: &str = "###### VMNET DHCP Configuration. Start of \"DO NOT MODIFY SECTION\" #####";
const END: &str = "####### VMNET DHCP Configuration. End of \"DO NOT MODIFY SECTION\" #######";
/// Seconds of a first lease and of a renewed one.
const DEFAULT_LEASE: u32 = 1800;
const MAX_LEASE: u32 = 7200;
/// Seconds after which a UDP mapping is forgotten, if the network does not say otherwise.
const UDP_TIMEOUT: u32 = 60;

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

/// What a network's `nat.conf` is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NatConf<'a> {
    pub vmnet: u8,
    pub subnet: Ipv4Net,
    /// Seconds; none for Fusion's default.
    pub udp_timeout: Option<u32>,
    pub forwards: &'a [PortForward],
}

/// A `host` block with a fixed address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    pub name: String,
    pub mac: Mac,
    pub address: Ipv4Addr,
}

/// Returns the first and last address that Fusion leases by itself: the upper half without the broadcast
/// address, so .128 to .254 of a /24 (facts/fusion-networking.md §1.4; other sizes are inferred).
pub fn pool(subnet: Ipv4Net) -> (Ipv4Addr, Ipv4Addr) {
    let (network, broadcast) = (u32::from(subnet.network()), u32::from(subnet.broadcast()));
    let first = network + (broadcast - network) / 2 + 1;
    (first.into(), broadcast.saturating_sub(1).max(first).into())
}

/// Returns the address at this place of the subnet, such as 2 for .2 of a /24.
fn nth(subnet: Ipv4Net, place: u32) -> Ipv4Addr {
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

impl NatConf<'_> {
    /// Returns the file's text.
    pub fn render(&self) -> String {
        let mut text = String::new();
        self.write(&mut text).expect("writing to a string cannot fail");
        text
    }

    fn write(&self, out: &mut String) -> std::fmt::Result {
        let Self { vmnet, subnet, .. } = self;
        writeln!(out, "# NAT configuration file of vmnet{vmnet}.\n\n[host]\n")?;
        writeln!(out, "useMacosVmnetVirtApi = 1\nip = {}\nnetmask = {}", nth(*subnet, 2), subnet.netmask())?;
        writeln!(out, "device = vmnet{vmnet}\nactiveFTP = 1\nallowAnyOUI = 1\nhostIp = {}", nth(*subnet, 1))?;
        writeln!(out, "resetConnectionOnLinkDown = 1\nresetConnectionOnDestLocalHost = 1\nnatIp6Enable = 0")?;
        writeln!(out, "natIp6Prefix = fd15:4ba5:5a2b:{}::/64\n", 1000 + u32::from(*vmnet))?;
        let udp_timeout = self.udp_timeout.unwrap_or(UDP_TIMEOUT);
        writeln!(out, "[tcp]\n\ntimeWaitTimeout = 30\n\n[udp]\n\ntimeout = {udp_timeout}\n")?;
        writeln!(out, "[netbios]\n\nnbnsTimeout = 2\nnbnsRetries = 3\nnbdsTimeout = 3\n")?;
        for (section, protocol) in [("incomingtcp", Protocol::Tcp), ("incomingudp", Protocol::Udp)] {
            writeln!(out, "[{section}]\n")?;
            for forward in self.forwards.iter().filter(|forward| forward.protocol == protocol) {
                let PortForward { host_port, guest, guest_port, description, .. } = forward;
                let comment =
                    if description.is_empty() { String::new() } else { format!(" # {description}") };
                writeln!(out, "{host_port} = {guest}:{guest_port}{comment}")?;
            }
            writeln!(out)?;
        }
        Ok(())
    }
}

/// Returns the `host` blocks of a `dhcpd.conf` that fix an address, wherever they stand.
pub fn hosts(text: &str) -> Vec<Host> {
    let tokens = tokens(text);
    let mut hosts = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        let [name, open, body @ ..] = &tokens[at + 1..] else { break };
        let begins_statement = at == 0 || matches!(tokens[at - 1].as_str(), ";" | "{" | "}");
        if token != "host" || open != "{" || !begins_statement {
            continue;
        }
        let end = body.iter().position(|token| token == "}").unwrap_or(body.len());
        let mut statements = body[..end].split(|token| token == ";");
        let mut mac = None;
        let mut address = None;
        for statement in &mut statements {
            match statement {
                [hardware, ethernet, value] if hardware == "hardware" && ethernet == "ethernet" => {
                    mac = value.parse().ok();
                }
                [fixed, value, ..] if fixed == "fixed-address" => {
                    address = value.trim_end_matches(',').parse().ok();
                }
                _ => {}
            }
        }
        if let (Some(mac), Some(address)) = (mac, address) {
            hosts.push(Host { name: name.trim_matches('"').to_owned(), mac, address });
        }
    }
    hosts
}

/// Splits ISC's configuration language: words, quoted strings, and `{`, `}` and `;` by themselves.
/// A comment goes from `#` to the end of the line.
pub(super) fn tokens(text: &str) -> Vec<String> {
    let mut tokens = Vec::new();
    let mut word = String::new();
    let mut chars = text.chars();
    while let Some(char) = chars.next() {
        match char {
            '"' => {
                word.push('"');
                for quoted in chars.by_ref() {
                    word.push(quoted);
                    if quoted == '"' {
                        break;
                    }
                }
            }
            '#' => {
                finish(&mut word, &mut tokens);
                chars.by_ref().find(|char| matches!(char, '\n' | '\r'));
            }
            '{' | '}' | ';' => {
                finish(&mut word, &mut tokens);
                tokens.push(char.to_string());
            }
            space if space.is_whitespace() => finish(&mut word, &mut tokens),
            _ => word.push(char),
        }
    }
    finish(&mut word, &mut tokens);
    tokens
}

fn finish(word: &mut String, tokens: &mut Vec<String>) {
    if !word.is_empty() {
        tokens.push(std::mem::take(word));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

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

    #[test]
    fn a_nat_conf_has_the_forwards_by_protocol() {
        let forward = |protocol, host_port, description: &str| PortForward {
            protocol,
            host_port,
            guest: Ipv4Addr::new(10, 10, 0, 3),
            guest_port: 22,
            description: description.to_owned(),
        };
        let forwards = [forward(Protocol::Udp, 53, ""), forward(Protocol::Tcp, 2222, "web")];
        let text = NatConf { vmnet: 2, subnet: subnet(), udp_timeout: None, forwards: &forwards }.render();
        let (before, udp) = text.split_once("[incomingudp]").unwrap();
        assert!(
            before.contains("[incomingtcp]\n\n2222 = 10.10.0.3:22 # web\n")
                && udp.contains("53 = 10.10.0.3:22\n")
        );
        assert!(
            text.contains("ip = 10.10.0.2\n") && text.contains("natIp6Prefix = fd15:4ba5:5a2b:1002::/64")
        );
    }

    #[test]
    fn hosts_are_found_whatever_the_layout() {
        let text = "group { host \"a\" {hardware ethernet 00:0c:29:00:00:01;# c } host\nfixed-address 10.0.0.1} }\
                    \noption domain-name \"host x { \";host b{fixed-address 10.0.0.2, 10.0.0.3; }host c {hardware ethernet 00:0c:29:00:00:02; fixed-address\r\n10.0.0.4";
        let found: Vec<_> =
            hosts(text).into_iter().map(|host| (host.name, host.address.octets()[3])).collect();
        assert_eq!(found, [("a".to_owned(), 1), ("c".to_owned(), 4)]);
    }

    proptest! {
        #[test]
        fn any_text_can_be_searched(text in "(host|a|[{};#\"\n ]|hardware ethernet 0:0:0:0:0:1|\\PC){0,30}") {
            hosts(&text);
        }
    }
}
