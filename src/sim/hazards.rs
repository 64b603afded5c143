//! What a stranger's Mac may be like before fusionlab comes: states that are no fault of Fusion's, but in the way of a
//! careless tool (facts/fusion-networking.md §7).

use std::io;
use std::net::Ipv4Addr;

use super::network;
use super::places::Places;
use super::settings::{Settings, Stranger};
use super::{configure, files, install, stranger};
use crate::formats::lines::{self, Ending};

/// One state, by name.
#[derive(Clone, Copy, Debug)]
pub struct Hazard {
    pub name: &'static str,
    /// One sentence, without its full stop.
    pub meaning: &'static str,
    seed: Seed,
}

/// Makes other bytes of the database's; those that it made already stay.
type Rewrite = fn(&[u8]) -> Vec<u8>;

/// How a state comes about. Whatever it is, a second time changes nothing.
#[derive(Clone, Copy, Debug)]
enum Seed {
    /// Lines of the database, which the networks follow.
    Lines(&'static [&'static str]),
    /// Other bytes for the same database, which the networks do not notice.
    Bytes(Rewrite),
    Settings(fn(&mut Settings)),
    StaleForward,
    Stranger,
}

const fn hazard(name: &'static str, meaning: &'static str, seed: Seed) -> Hazard {
    Hazard { name, meaning, seed }
}

/// Every state that can be had.
pub const TABLE: &[Hazard] = &[
    hazard(
        "vmnet2-bridged",
        "vmnet2 is taken by a bridge to en0, with no other line about it",
        Seed::Lines(&["add_bridge_mapping en0 2"]),
    ),
    hazard("vmnet2-taken", "vmnet2 is another network with a subnet of its own", Seed::Lines(TAKEN)),
    hazard("husk", "Leavings of a deleted vmnet2 are there, with its UUID", Seed::Lines(HUSK)),
    hazard(
        "reserved-by-another",
        "vmnet2 is somebody's with our subnet, and master1's address is reserved for another MAC",
        Seed::Lines(RESERVED),
    ),
    hazard("two-digit-vnets", "There are vmnet10 and vmnet20 besides", Seed::Lines(TWO_DIGITS)),
    hazard("unknown-keys", "Keys and a directive that nobody documents are in use", Seed::Lines(UNKNOWN)),
    hazard("empty-value", "An answer has no value", Seed::Lines(&["answer VNET_1_DISPLAY_NAME "])),
    hazard("descriptions", "Forwarded ports have free text behind them", Seed::Lines(DESCRIPTIONS)),
    hazard(
        "glued",
        "Two reservations stand on one line, as Vagrant leaves them",
        Seed::Lines(&[
            "add_dhcp_mac_to_ip 8 00:50:56:3A:00:01 192.168.215.21add_dhcp_mac_to_ip 8 00:50:56:3A:00:02 192.168.215.22",
        ]),
    ),
    hazard(
        "stale-nat-forwards",
        "nat.conf has a forwarded port that the networking file does not have",
        Seed::StaleForward,
    ),
    hazard(
        "comments",
        "The networking file has comments, on lines of their own and behind answers",
        Seed::Bytes(comment),
    ),
    hazard("crlf", "The networking file's lines end as on Windows", Seed::Bytes(crlf)),
    hazard("no-last-newline", "The networking file's last line is unfinished", Seed::Bytes(unfinished)),
    hazard("binary", "There is binary data in the networking file", Seed::Bytes(binary)),
    hazard(
        "wrong-version",
        "The networking file is of a version that nobody knows",
        Seed::Bytes(other_version),
    ),
    hazard("vip-taken", "Another machine on the LAN has the VIP's address", Seed::Settings(take_vip)),
    hazard(
        "gateway-address-taken",
        "Another machine on the LAN has the first gateway's address",
        Seed::Settings(take_gateways_address),
    ),
    hazard(
        "vrrp-stranger",
        "A router on the LAN sends VRRP adverts with the lab's router id",
        Seed::Settings(send_adverts),
    ),
    hazard(
        "wifi",
        "The Mac is on the home network by Wi-Fi",
        Seed::Settings(|settings| settings.wifi = true),
    ),
    hazard(
        "mac-sleeps",
        "The Mac goes to sleep by itself on mains power",
        Seed::Settings(|settings| settings.sleeps = true),
    ),
    hazard(
        "small-mac",
        "The Mac has 16 GiB of memory",
        Seed::Settings(|settings| settings.memory_mib = SMALL_MIB),
    ),
    hazard(
        "other-lan",
        "The Mac is in another home network, until a lab takes it to its own",
        Seed::Settings(|settings| settings.lan = OTHER_LAN),
    ),
    hazard("window-open", "Fusion's window is open", Seed::Settings(|settings| settings.window_open = true)),
    hazard("stranger-runs", "A VM of somebody else's runs on vmnet8", Seed::Stranger),
    hazard("subnet-routed", "A VPN has taken 10.0.0.0/8", Seed::Settings(route_ten)),
    hazard(
        "old-fusion",
        "Fusion is 12.1.2, whose networks use Apple's DHCP server",
        Seed::Settings(|settings| settings.fusion = "12.1.2".to_owned()),
    ),
];

const SMALL_MIB: u32 = 16 * 1024;
const OTHER_LAN: ipnet::Ipv4Net = ipnet::Ipv4Net::new_assert(Ipv4Addr::new(192, 168, 1, 0), 24);
const TAKEN: &[&str] = &[
    "answer VNET_2_DHCP yes",
    "answer VNET_2_HOSTONLY_NETMASK 255.255.255.0",
    "answer VNET_2_HOSTONLY_SUBNET 172.16.2.0",
    "answer VNET_2_NAT no",
    "answer VNET_2_VIRTUAL_ADAPTER yes",
];
const HUSK: &[&str] = &[
    "answer VNET_2_DHCP no",
    "answer VNET_2_HOSTONLY_UUID 1C9D4F60-52B8-4E7A-9A7D-3E5A6B7C8D9E",
    "answer VNET_2_NAT no",
    "answer VNET_2_NAT_PARAM_UDP_TIMEOUT 30",
    "answer VNET_2_VIRTUAL_ADAPTER no",
];
const RESERVED: &[&str] = &[
    "answer VNET_2_DHCP yes",
    "answer VNET_2_HOSTONLY_NETMASK 255.255.255.0",
    "answer VNET_2_HOSTONLY_SUBNET 10.10.0.0",
    "answer VNET_2_NAT yes",
    "answer VNET_2_VIRTUAL_ADAPTER yes",
    "add_dhcp_mac_to_ip 2 00:0C:29:4B:1D:2E 10.10.0.131",
];
const TWO_DIGITS: &[&str] = &[
    "answer VNET_10_DHCP yes",
    "answer VNET_10_DISPLAY_NAME vSphere",
    "answer VNET_10_HOSTONLY_NETMASK 255.255.255.0",
    "answer VNET_10_HOSTONLY_SUBNET 172.16.10.0",
    "answer VNET_10_VIRTUAL_ADAPTER yes",
    "answer VNET_20_DHCP no",
    "answer VNET_20_HOSTONLY_NETMASK 255.255.255.128",
    "answer VNET_20_HOSTONLY_SUBNET 172.16.20.0",
    "answer VNET_20_NAT yes",
    "answer VNET_20_VIRTUAL_ADAPTER no",
];
const UNKNOWN: &[&str] = &[
    "answer VNL_DEFAULT_BRIDGE_VNET -1",
    "answer VNET_8_DHCP_PARAM_DNS_ADDR 1.1.1.1",
    "answer VNET_8_DHCP_PARAM_ROUTERS 192.168.215.2",
    "add_link_quality 8 10 0.5",
];
const DESCRIPTIONS: &[&str] = &[
    "add_nat_portfwd 8 tcp 8080 192.168.215.30 80 vagrant: /Users/me/my boxes/web",
    "add_nat_portfwd 8 udp 5353 192.168.215.30 53 names, for the printer",
];
/// The network that a stale forward is of, its section, and the forward.
const NAT_VMNET: u8 = 8;
const FORWARDS: &str = "[incomingtcp]\n\n";
const STALE_FORWARD: &str = "2222 = 192.168.215.31:22\n";
const COMMENT: &str = "# Before you change this, ask the network people.";
const COMMENTED: &str = "answer VNET_8_NAT yes";
const TRAILING_COMMENT: &str = " # never no";
const BINARY: &[u8] = b"\xff\xfe\0\x01\n";

/// Brings a state about.
///
/// # Errors
/// If there is no such state, or an earlier one is in its way: a file that is not read cannot be applied.
pub async fn seed(places: &Places, name: &str) -> io::Result<()> {
    let hazard = TABLE.iter().find(|hazard| hazard.name == name);
    let hazard =
        hazard.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, format!("no hazard {name}")))?;
    match hazard.seed {
        Seed::Lines(lines) => append(places, lines)?,
        Seed::Bytes(change) => {
            let before = files::read_bytes(&places.networking())?;
            let after = change(&before);
            if after != before {
                files::write(&places.networking(), after)?;
            }
        }
        Seed::Settings(change) => {
            let release = Settings::update(places, |settings| {
                let before = settings.fusion.clone();
                change(settings);
                (settings.fusion != before).then(|| settings.clone())
            })?;
            if let Some(release) = release {
                install::name_release(places, &release)?;
                configure::configure(places)?;
            }
        }
        Seed::StaleForward => leave_stale_forward(places)?,
        Seed::Stranger => stranger::start(places).await?,
    }
    network::show_window(places)
}

/// Appends what is not there yet, and applies it.
fn append(places: &Places, wanted: &[&str]) -> io::Result<()> {
    let text = files::read(&places.networking())?.unwrap_or_default();
    let there = lines::split(&text);
    let missing = wanted.iter().filter(|wanted| !there.iter().any(|line| line.text == **wanted));
    let missing: Vec<String> = missing.map(|line| (*line).to_owned()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    // What cannot be read must not be appended to.
    network::database(places)?;
    configure::append_lines(places, &missing)?;
    configure::configure(places)?;
    network::start(places, None).map(drop)
}

fn leave_stale_forward(places: &Places) -> io::Result<()> {
    let path = places.vmnet(NAT_VMNET).join("nat.conf");
    let text = files::read(&path)?.unwrap_or_default();
    if text.contains(STALE_FORWARD) {
        return Ok(());
    }
    files::write(&path, text.replacen(FORWARDS, &format!("{FORWARDS}{STALE_FORWARD}"), 1))
}

/// The document's VIP and its router id, and those who have them in their place.
const VIP: Ipv4Addr = Ipv4Addr::new(192, 168, 68, 200);
const GATEWAY: Ipv4Addr = Ipv4Addr::new(192, 168, 68, 56);
const ROUTER_ID: u8 = 51;
const PRINTER: &str = "3c:2a:f4:0b:1d:2e";
const ROUTER: &str = "38:94:ed:56:6f:8e";
const ROUTERS_ADDRESS: Ipv4Addr = Ipv4Addr::new(192, 168, 68, 3);

fn take_vip(settings: &mut Settings) {
    add_stranger(settings, PRINTER, VIP, None);
}

fn take_gateways_address(settings: &mut Settings) {
    add_stranger(settings, PRINTER, GATEWAY, None);
}

fn send_adverts(settings: &mut Settings) {
    add_stranger(settings, ROUTER, ROUTERS_ADDRESS, Some(ROUTER_ID));
}

fn add_stranger(settings: &mut Settings, mac: &str, address: Ipv4Addr, router_id: Option<u8>) {
    let mac = mac.parse().expect("a MAC that we wrote");
    let stranger = Stranger { mac, address, router_id };
    if !settings.strangers.contains(&stranger) {
        settings.strangers.push(stranger);
    }
}

fn route_ten(settings: &mut Settings) {
    let route = (ipnet::Ipv4Net::new_assert([10, 0, 0, 0].into(), 8), "utun4".to_owned());
    if !settings.routes.contains(&route) {
        settings.routes.push(route);
    }
}

fn comment(bytes: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(bytes);
    let mut all = lines::split(&text);
    if all.iter().any(|line| line.text == COMMENT) {
        return bytes.to_vec();
    }
    for line in all.iter_mut().filter(|line| line.text == COMMENTED) {
        line.text.push_str(TRAILING_COMMENT);
    }
    let ending = lines::ending_of(&all);
    all.insert(1.min(all.len()), lines::Line { text: COMMENT.to_owned(), ending });
    lines::join(&all).into_bytes()
}

fn crlf(bytes: &[u8]) -> Vec<u8> {
    let mut all = lines::split(&String::from_utf8_lossy(bytes));
    for line in all.iter_mut().filter(|line| line.ending != Ending::None) {
        line.ending = Ending::CrLf;
    }
    lines::join(&all).into_bytes()
}

fn unfinished(bytes: &[u8]) -> Vec<u8> {
    let end = bytes.iter().rposition(|byte| !matches!(byte, b'\r' | b'\n')).map_or(0, |last| last + 1);
    bytes[..end].to_vec()
}

fn binary(bytes: &[u8]) -> Vec<u8> {
    if bytes.contains(&0) { bytes.to_vec() } else { [bytes, BINARY].concat() }
}

fn other_version(bytes: &[u8]) -> Vec<u8> {
    String::from_utf8_lossy(bytes).replacen("VERSION=1,0", "VERSION=2,0", 1).into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_meanings_are_one_sentence() {
        let names: std::collections::BTreeSet<_> = TABLE.iter().map(|hazard| hazard.name).collect();
        assert_eq!(names.len(), TABLE.len());
        assert!(TABLE.iter().all(|hazard| !hazard.meaning.contains(". ") && !hazard.meaning.ends_with('.')));
    }

    #[test]
    fn changed_bytes_are_changed_once() {
        let changes: [Rewrite; 5] = [comment, crlf, unfinished, binary, other_version];
        for (number, change) in changes.into_iter().enumerate() {
            let once = change(b"VERSION=1,0\nanswer VNET_8_NAT yes\nanswer VNET_8_DHCP yes\n");
            assert_eq!(change(&once), once, "{number}");
            assert_ne!(once, b"VERSION=1,0\nanswer VNET_8_NAT yes\nanswer VNET_8_DHCP yes\n", "{number}");
        }
    }
}
