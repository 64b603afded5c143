//! Editing the networking file: the least change that fulfils a wish, and the way back.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use super::directive::Directive;
use super::state::{ADAPTER, DHCP, NAT, NETMASK, SUBNET, State};
use super::{Document, Vmnet};
use crate::formats::lines;
use crate::formats::mac::Mac;

/// The numbers that Fusion itself gives away: bridged, host-only and NAT (facts/fusion-networking.md §1.5).
const FUSIONS_OWN: [u8; 3] = [0, 1, 8];
/// What a switched-on answer says.
const YES: &str = "yes";

/// A network with NAT, DHCP and the host on it, and addresses reserved in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wish {
    pub vmnet: u8,
    pub subnet: Ipv4Net,
    pub reservations: Vec<(Mac, Ipv4Addr)>,
}

/// What we made in an earlier run, and so may change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ours {
    /// Whether the wished vmnet was made by us.
    pub vmnet: bool,
}

/// Why a wish cannot be fulfilled without taking something from someone.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum Conflict {
    /// The number belongs to another network.
    #[error("vmnet{vmnet} is taken by another network{}", subnet.map(|subnet| format!(" ({subnet})")).unwrap_or_default())]
    VmnetTaken { vmnet: u8, subnet: Option<Ipv4Net>, free_vmnet: Option<u8> },

    /// The number belongs to a bridge.
    #[error("vmnet{vmnet} is taken by the bridge to {interface}")]
    VmnetBridged { vmnet: u8, interface: String, free_vmnet: Option<u8> },

    /// The network is there with the wished subnet, but is not ours and lacks something.
    #[error("vmnet{vmnet} is there, but not made by fusionlab and without {}", missing.join(", "))]
    VmnetLacks { vmnet: u8, missing: Vec<&'static str> },

    /// Two networks would have the same addresses.
    #[error("{wished} overlaps {subnet} of vmnet{vmnet}")]
    SubnetOverlaps { wished: Ipv4Net, vmnet: u8, subnet: Ipv4Net },

    /// Somebody else has reserved the address.
    #[error("{address} on vmnet{vmnet} is reserved for {holder}, not for {mac}")]
    AddressReserved { vmnet: u8, address: Ipv4Addr, mac: Mac, holder: Mac },

    /// Somebody else has given the MAC another address.
    #[error("{mac} on vmnet{vmnet} has {held} reserved, not {address}")]
    MacReserved { vmnet: u8, mac: Mac, address: Ipv4Addr, held: Ipv4Addr },
}

impl Conflict {
    /// Returns a vmnet that could be used instead.
    pub fn free_vmnet(&self) -> Option<u8> {
        match self {
            Self::VmnetTaken { free_vmnet, .. } | Self::VmnetBridged { free_vmnet, .. } => *free_vmnet,
            _ => None,
        }
    }
}

impl Document {
    /// Returns this file with the wish fulfilled: only lines that must change do, others are appended, and
    /// a file that fulfils it already comes back as it is.
    ///
    /// # Errors
    /// Every conflict with what is there and not ours.
    pub fn ensure(&self, wish: &Wish, ours: Ours) -> Result<Self, Vec<Conflict>> {
        let state = State::of(self);
        let conflicts = conflicts(&state, wish, ours);
        if !conflicts.is_empty() {
            return Err(conflicts);
        }
        let mut document = self.clone();
        // A network that is there and not ours has all it needs, or there would have been a conflict.
        if ours.vmnet || !state.vmnet(wish.vmnet).exists {
            for (key, value) in answers(wish) {
                document.answer(wish.vmnet, key, &value);
            }
        }
        for (mac, address) in &wish.reservations {
            document.reserve(wish, *mac, *address);
        }
        Ok(document)
    }

    /// Returns this file without our lines: with `made_vmnet` every answer and reservation of the vmnet,
    /// those that Fusion added included; else only the given reservations.
    pub fn without(&self, vmnet: u8, made_vmnet: bool, reservations: &[(Mac, Ipv4Addr)]) -> Self {
        let mut document = self.clone();
        document.lines.retain(|line| match Directive::parse(&line.text) {
            Some(Directive::Answer { vmnet: of, .. } | Directive::RemoveAnswer { vmnet: of, .. })
            | Some(Directive::RemoveReservation { vmnet: of, .. })
                if made_vmnet =>
            {
                of != vmnet
            }
            Some(Directive::AddReservation { vmnet: of, mac, address }) => {
                of != vmnet || !(made_vmnet || reservations.contains(&(mac, address)))
            }
            _ => true,
        });
        document
    }

    /// Gives an answer: in its place if there is one in effect, else as a new last line.
    fn answer(&mut self, vmnet: u8, key: &str, value: &str) {
        if State::of(self).answer(vmnet, key).is_some_and(|there| there.eq_ignore_ascii_case(value)) {
            return;
        }
        let text = format!("answer VNET_{vmnet}_{key} {value}");
        let last = self.lines.iter_mut().rev().find_map(|line| {
            let removed = match Directive::parse(&line.text)? {
                Directive::Answer { vmnet: of, key: there, .. } if of == vmnet && there == key => false,
                Directive::RemoveAnswer { vmnet: of, key: there } if of == vmnet && there == key => true,
                _ => return None,
            };
            Some((line, removed))
        });
        match last {
            Some((line, false)) => line.text = text,
            _ => lines::append(&mut self.lines, text),
        }
    }

    /// Reserves an address, and drops other reservations of the same MAC or address.
    fn reserve(&mut self, wish: &Wish, mac: Mac, address: Ipv4Addr) {
        let is_stale = |there: &(Mac, Ipv4Addr)| (there.0 == mac) != (there.1 == address);
        let held = State::of(self);
        let stale: Vec<Mac> = held.reservations_of(wish.vmnet).filter(is_stale).map(|(mac, _)| mac).collect();
        if !stale.is_empty() {
            // Every line of such a MAC goes: an earlier one would come into effect again in the last one's place.
            self.lines.retain(|line| match Directive::parse(&line.text) {
                Some(Directive::AddReservation { vmnet, mac: held, .. }) => {
                    vmnet != wish.vmnet || !stale.contains(&held)
                }
                _ => true,
            });
        }
        if !State::of(self).reservations_of(wish.vmnet).any(|there| there == (mac, address)) {
            lines::append(&mut self.lines, format!("add_dhcp_mac_to_ip {} {mac} {address}", wish.vmnet));
        }
    }
}

/// Returns the file's bytes once our lines are out of it.
///
/// If that leaves what the file meant before our first change, these are the bytes of back then, so that
/// comments, order and the final newline come back too; Fusion's own hashes do not count. If Fusion or
/// somebody else has changed something since, it is kept, and only our lines go. A current file that we
/// cannot read stays as it is.
pub fn restore(
    current: &[u8],
    before: Option<&[u8]>,
    vmnet: u8,
    made_vmnet: bool,
    reservations: &[(Mac, Ipv4Addr)],
) -> Vec<u8> {
    let Ok(current_document) = Document::parse(current) else { return current.to_vec() };
    let stripped = |document: &Document| document.without(vmnet, made_vmnet, reservations);
    let meaning = |document: &Document| State::of(document).without_hashes();
    let left = stripped(&current_document);
    let original = before.and_then(|bytes| Some((bytes, Document::parse(bytes).ok()?)));
    match original {
        Some((bytes, original)) if meaning(&left) == meaning(&stripped(&original)) => bytes.to_vec(),
        _ => left.render(),
    }
}

/// Returns the answers that make a network what we need (facts/fusion-networking.md §1.4).
fn answers(wish: &Wish) -> [(&'static str, String); 5] {
    [
        (DHCP, YES.to_owned()),
        (NETMASK, wish.subnet.netmask().to_string()),
        (SUBNET, wish.subnet.network().to_string()),
        (NAT, YES.to_owned()),
        (ADAPTER, YES.to_owned()),
    ]
}

fn conflicts(state: &State, wish: &Wish, ours: Ours) -> Vec<Conflict> {
    let mut conflicts = Vec::new();
    let there = state.vmnet(wish.vmnet);
    conflicts.extend(vmnet_conflict(state, wish, ours, &there));
    for number in state.numbers() {
        if let Some(subnet) =
            state.vmnet(number).subnet.filter(|subnet| number != wish.vmnet && overlap(subnet, &wish.subnet))
        {
            conflicts.push(Conflict::SubnetOverlaps { wished: wish.subnet, vmnet: number, subnet });
        }
    }
    // Reservations in a network that is ours, or that does not exist, are nobody's.
    if !ours.vmnet && there.exists {
        conflicts.extend(reservation_conflicts(state, wish));
    }
    conflicts
}

fn vmnet_conflict(state: &State, wish: &Wish, ours: Ours, there: &Vmnet) -> Option<Conflict> {
    let vmnet = wish.vmnet;
    let free_vmnet = free_vmnet(state);
    if let Some(interface) = there.bridged_to.clone() {
        return Some(Conflict::VmnetBridged { vmnet, interface, free_vmnet });
    }
    if ours.vmnet {
        return None;
    }
    if !there.exists {
        return FUSIONS_OWN.contains(&vmnet).then_some(Conflict::VmnetTaken {
            vmnet,
            subnet: None,
            free_vmnet,
        });
    }
    if there.subnet != Some(wish.subnet.trunc()) {
        return Some(Conflict::VmnetTaken { vmnet, subnet: there.subnet, free_vmnet });
    }
    let needs = [(there.nat, "NAT"), (there.dhcp, "DHCP"), (there.adapter, "the host's adapter")];
    let missing: Vec<_> = needs.into_iter().filter(|(there, _)| !there).map(|(_, name)| name).collect();
    (!missing.is_empty()).then_some(Conflict::VmnetLacks { vmnet, missing })
}

fn reservation_conflicts(state: &State, wish: &Wish) -> Vec<Conflict> {
    let vmnet = wish.vmnet;
    let mut conflicts = Vec::new();
    for &(mac, address) in &wish.reservations {
        for (holder, held) in state.reservations_of(vmnet) {
            if held == address && holder != mac {
                conflicts.push(Conflict::AddressReserved { vmnet, address, mac, holder });
            }
            if holder == mac && held != address {
                conflicts.push(Conflict::MacReserved { vmnet, mac, address, held });
            }
        }
    }
    conflicts
}

/// Returns the lowest number that no network and no bridge has; leavings of deleted networks are free.
fn free_vmnet(state: &State) -> Option<u8> {
    (2..=u8::MAX).filter(|number| !FUSIONS_OWN.contains(number)).find(|&number| {
        let there = state.vmnet(number);
        !there.exists && there.bridged_to.is_none()
    })
}

fn overlap(one: &Ipv4Net, other: &Ipv4Net) -> bool {
    one.contains(&other.network()) || other.contains(&one.network())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIVE: &str = include_str!("live.txt");
    const NEW: Ours = Ours { vmnet: false };
    const MADE: Ours = Ours { vmnet: true };

    fn parse(text: &str) -> Document {
        Document::parse(text.as_bytes()).unwrap()
    }

    fn text(document: &Document) -> String {
        String::from_utf8(document.render()).unwrap()
    }

    fn mac(last: u8) -> Mac {
        Mac::new([0, 0x50, 0x56, 0, 0x0b, last])
    }

    fn address(last: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, 10, 0, last)
    }

    fn wish(vmnet: u8, hosts: &[u8]) -> Wish {
        let reservations = hosts.iter().map(|&host| (mac(host), address(host))).collect();
        Wish { vmnet, subnet: "10.10.0.0/24".parse().unwrap(), reservations }
    }

    const LAB: &str = "answer VNET_2_DHCP yes\nanswer VNET_2_HOSTONLY_NETMASK 255.255.255.0\n\
        answer VNET_2_HOSTONLY_SUBNET 10.10.0.0\nanswer VNET_2_NAT yes\nanswer VNET_2_VIRTUAL_ADAPTER yes\n\
        add_dhcp_mac_to_ip 2 00:50:56:00:0b:83 10.10.0.131\n";

    #[test]
    fn a_wish_is_appended_in_whole_lines_of_the_files_own_ending() {
        let document = Document::new().ensure(&wish(2, &[131]), NEW).unwrap();
        assert_eq!(text(&document), format!("VERSION=1,0\n{LAB}"));
        let document = parse("VERSION=1,0\r\nanswer VNET_8_NAT yes").ensure(&wish(2, &[131]), NEW).unwrap();
        let expected = format!("VERSION=1,0\nanswer VNET_8_NAT yes\n{LAB}").replace('\n', "\r\n");
        assert_eq!(text(&document), expected);
    }

    #[test]
    fn a_network_that_is_there_as_wished_only_gets_reservations() {
        let there = parse(&format!("VERSION=1,0\n{LAB}")).without(2, false, &[(mac(131), address(131))]);
        let document = there.ensure(&wish(2, &[131]), NEW).unwrap();
        assert_eq!(text(&document), format!("VERSION=1,0\n{LAB}"));
        assert_eq!(document.without(2, false, &[(mac(131), address(131))]), there);
    }

    #[test]
    fn a_changed_lab_changes_its_lines_in_place() {
        let old = parse(&format!("VERSION=1,0\n{LAB}"));
        let mut wish = wish(2, &[]);
        wish.subnet = "10.20.0.0/24".parse().unwrap();
        wish.reservations = vec![(mac(131), Ipv4Addr::new(10, 20, 0, 131))];
        let expected = format!("VERSION=1,0\n{}", LAB.replace("10.10.", "10.20."));
        assert_eq!(text(&old.ensure(&wish, MADE).unwrap()), expected);
        wish.reservations = vec![(mac(1), address(131))];
        let taken_over = old.ensure(&wish, MADE).unwrap();
        assert_eq!(taken_over.reservations(2), [(mac(1), address(131))]);
    }

    #[test]
    fn leavings_of_a_deleted_network_are_reused() {
        let document = parse(LIVE).ensure(&wish(3, &[131]), NEW).unwrap();
        let vmnet = document.vmnet(3);
        assert!(vmnet.exists && vmnet.nat && vmnet.dhcp && vmnet.adapter);
        assert_eq!(vmnet.uuid, parse(LIVE).vmnet(3).uuid);
        let back = restore(&document.render(), Some(LIVE.as_bytes()), 3, true, &[(mac(131), address(131))]);
        assert_eq!(String::from_utf8(back).unwrap(), LIVE);
    }

    #[test]
    fn what_belongs_to_others_is_a_conflict_that_says_whose_it_is() {
        let conflicts = |document: &str, wish: &Wish, ours: Ours| -> Vec<String> {
            parse(document).ensure(wish, ours).unwrap_err().iter().map(ToString::to_string).collect()
        };
        assert_eq!(
            conflicts(LIVE, &wish(8, &[]), NEW),
            ["vmnet8 is taken by another network (192.168.215.0/24)"]
        );
        assert_eq!(conflicts(LIVE, &wish(2, &[]), NEW), ["vmnet2 is taken by the bridge to en0"]);
        let free = parse(LIVE).ensure(&wish(2, &[]), NEW).unwrap_err()[0].free_vmnet();
        assert_eq!(free, Some(3), "a deleted network's number is free");
        let wide = Wish { subnet: "192.168.0.0/16".parse().unwrap(), ..wish(4, &[]) };
        assert_eq!(
            conflicts(LIVE, &wide, NEW),
            [
                "192.168.0.0/16 overlaps 192.168.215.0/24 of vmnet8",
                "192.168.0.0/16 overlaps 192.168.110.0/24 of vmnet10"
            ]
        );
        assert_eq!(conflicts("VERSION=1,0\n", &wish(0, &[]), NEW), ["vmnet0 is taken by another network"]);
        let lab = format!("VERSION=1,0\n{LAB}");
        let thief =
            Wish { reservations: vec![(mac(131), address(9)), (mac(9), address(131))], ..wish(2, &[]) };
        assert_eq!(
            conflicts(&lab, &thief, NEW),
            [
                "00:50:56:00:0b:83 on vmnet2 has 10.10.0.131 reserved, not 10.10.0.9",
                "10.10.0.131 on vmnet2 is reserved for 00:50:56:00:0b:83, not for 00:50:56:00:0b:09"
            ]
        );
        let silent = lab.replace("NAT yes", "NAT no").replace("DHCP yes", "DHCP no");
        assert_eq!(
            conflicts(&silent, &wish(2, &[]), NEW),
            ["vmnet2 is there, but not made by fusionlab and without NAT, DHCP"]
        );
        assert_eq!(parse(&silent).ensure(&wish(2, &[131]), MADE), Ok(parse(&lab)));
    }

    #[test]
    fn what_fusion_added_to_our_network_goes_with_it() {
        let before = "VERSION=1,0\n# by hand\nanswer VNET_8_DHCP yes\nanswer VNET_8_DHCP_CFG_HASH AA";
        let ours = [(mac(131), address(131))];
        let made = text(&parse(before).ensure(&wish(2, &[131]), NEW).unwrap());
        let applied = made
            + "answer VNET_2_HOSTONLY_UUID 5B7C\nremove_answer VNET_2_DHCP_CFG_HASH\n\
               answer VNET_2_DHCP_CFG_HASH F1\nremove_answer VNET_8_DHCP_CFG_HASH\nanswer VNET_8_DHCP_CFG_HASH BB\n";
        assert_eq!(restore(applied.as_bytes(), Some(before.as_bytes()), 2, true, &ours), before.as_bytes());
        let touched = applied.clone() + "answer VNET_8_NAT yes\n";
        let kept =
            String::from_utf8(restore(touched.as_bytes(), Some(before.as_bytes()), 2, true, &ours)).unwrap();
        assert!(kept.contains("VNET_8_NAT yes") && !kept.contains("VNET_2"), "{kept}");
        let absent = Document::new().ensure(&wish(2, &[131]), NEW).unwrap().render();
        assert_eq!(restore(&absent, None, 2, true, &ours), Document::new().render());
        assert_eq!(restore(b"\0", Some(before.as_bytes()), 2, true, &ours), b"\0");
    }

    /// Files as people and Fusion leave them, about networks other than vmnet2.
    fn files() -> impl Strategy<Value = String> {
        let line = prop_oneof![
            "answer VNET_[1389]_(NAT|DHCP|DISPLAY_NAME) (yes|no|a b)?( # x)?",
            "remove_answer VNET_[138]_DHCP",
            "add_dhcp_mac_to_ip [18] 00:0c:29:00:00:0[0-9] 192\\.168\\.1\\.[1-9]",
            "add_bridge_mapping en[01] [34]",
            "add_nat_portfwd 8 tcp 22[0-9]{2} 192\\.168\\.1\\.4 22( a tail)?",
            "answer VNET_8_HOSTONLY_SUBNET 192\\.168\\.[0-9]\\.0",
            "answer VNET_20_HOSTONLY_SUBNET 172\\.16\\.1\\.0",
            "\\PC{0,10}",
            "",
        ];
        let ending = prop_oneof![Just("\n"), Just("\r\n"), Just("\r")];
        (proptest::collection::vec(line, 0..8), ending, any::<bool>()).prop_map(
            |(lines, ending, finished)| {
                let text = [vec!["VERSION=1,0".to_owned()], lines].concat().join(ending);
                if finished { text + ending } else { text }
            },
        )
    }

    proptest! {
        #[test]
        fn a_second_wish_changes_nothing_and_the_way_back_is_exact(file in files(), hosts in proptest::collection::btree_set(3_u8..255, 0..5)) {
            let hosts: Vec<u8> = hosts.into_iter().collect();
            let wish = wish(2, &hosts);
            let before = parse(&file);
            let once = before.ensure(&wish, NEW).unwrap();
            prop_assert_eq!(once.ensure(&wish, MADE), Ok(once.clone()));
            prop_assert_eq!(once.ensure(&wish, NEW), Ok(once.clone()));
            prop_assert_eq!(once.reservations(2), wish.reservations.clone());
            prop_assert!(text(&once).starts_with(&file), "foreign lines stay, byte for byte and in order");
            prop_assert_eq!(restore(&once.render(), Some(file.as_bytes()), 2, true, &wish.reservations), file.as_bytes());
            let without = text(&once.without(2, true, &wish.reservations));
            prop_assert_eq!(without.trim_end_matches(['\r', '\n']), file.trim_end_matches(['\r', '\n']));
        }

        #[test]
        fn a_file_about_the_same_network_keeps_its_other_lines(file in files(), extra in "(answer VNET_2_(NAT|DHCP|VIRTUAL_ADAPTER|HOSTONLY_UUID) (yes|no)\n|remove_answer VNET_2_NAT\n|add_dhcp_mac_to_ip 2 00:50:56:00:0b:0[0-9] 10\\.10\\.0\\.[1-9]\n){0,5}") {
            let file = if file.ends_with(['\r', '\n']) { file } else { file + "\n" } + &extra;
            let wish = wish(2, &[3, 5]);
            let once = parse(&file).ensure(&wish, NEW).unwrap();
            prop_assert_eq!(once.ensure(&wish, MADE), Ok(once.clone()));
            let vmnet = once.vmnet(2);
            prop_assert!(vmnet.exists && vmnet.nat && vmnet.dhcp && vmnet.adapter);
            for reservation in &wish.reservations {
                prop_assert!(once.reservations(2).contains(reservation));
            }
            let foreign = |document: &Document| text(&document.without(2, true, &[]));
            prop_assert_eq!(foreign(&once), foreign(&parse(&file)));
            prop_assert_eq!(restore(&once.render(), Some(file.as_bytes()), 2, true, &wish.reservations), file.as_bytes());
        }
    }

    #[test]
    fn a_reservation_that_was_overridden_does_not_come_back() {
        let mac = |last: u8| Mac::new([0, 0x50, 0x56, 0, 0x0b, last]);
        let at = |last: u8| Ipv4Addr::new(10, 10, 0, last);
        let file = "VERSION=1,0\nadd_dhcp_mac_to_ip 2 00:50:56:00:0b:04 10.10.0.3\n\
                    add_dhcp_mac_to_ip 2 00:50:56:00:0b:04 10.10.0.5\n";
        let wish = Wish {
            vmnet: 2,
            subnet: "10.10.0.0/24".parse().unwrap(),
            reservations: vec![(mac(1), at(3)), (mac(2), at(5))],
        };
        let once = Document::parse(file.as_bytes()).unwrap().ensure(&wish, Ours { vmnet: true }).unwrap();
        assert_eq!(once.ensure(&wish, Ours { vmnet: true }).unwrap().render(), once.render());
        assert_eq!(once.reservations(2), wish.reservations);
    }
}
