//! What holds for every file and every sequence of edits.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

const VMNET: u8 = 5;

/// A line about a network other than ours, or about none, as people, Vagrant and Fusion leave them.
fn foreign_line() -> impl Strategy<Value = Vec<u8>> {
    let text = prop_oneof![
        4 => "answer VNET_(1|8|9|55) ?_?(NAT|DHCP|DISPLAY_NAME|DHCP_CFG_HASH) (yes|no|a b)?( # x)?",
        4 => "answer VNET_(1|3|8|10)_(NAT|DHCP|VIRTUAL_ADAPTER) (yes|no)",
        2 => "ANSWER\tvnet_8_dhcp  yes",
        2 => "remove_answer VNET_[138]_(DHCP|NAT)",
        2 => "answer VNET_(8|20)_HOSTONLY_SUBNET 192\\.168\\.[0-9]\\.0",
        2 => "add_dhcp_mac_to_ip [18] 00:0c:29:00:00:0[0-9] 192\\.168\\.1\\.[1-9]",
        1 => "add_dhcp_mac_to_ip 8 00:0c:29:00:00:01 192\\.168\\.1\\.3add_dhcp_mac_to_ip 8 00:0c:29:00:00:02 192\\.168\\.1\\.4",
        1 => "remove_dhcp_mac_to_ip 8 00:0c:29:00:00:0[0-9]",
        2 => "add_nat_portfwd (8|20) (tcp|udp) 22[0-9]{2} 192\\.168\\.1\\.4 22( a tail)?",
        1 => "remove_nat_portfwd 8 tcp 22[0-9]{2}( 192\\.168\\.1\\.4 22 a tail)?",
        2 => "add_bridge_mapping en[01] [34]",
        1 => "remove_bridge_mapping en[01]",
        1 => "add_nat_prefix 8 /64",
        1 => "answer VNL_DEFAULT_BRIDGE_VNET -1",
        2 => "#\\PC{0,10}",
        2 => "\\PC{0,10}",
        1 => "[ \t]{0,2}",
    ];
    let bytes =
        vec(any::<u8>().prop_filter("an ending or NUL", |byte| !matches!(byte, 0 | b'\r' | b'\n')), 0..8);
    prop_oneof![9 => text.prop_map(String::into_bytes), 1 => bytes]
}

/// A file without anything of our network.
fn file() -> impl Strategy<Value = Vec<u8>> {
    let ending = || prop_oneof![4 => Just("\n"), 2 => Just("\r\n"), 1 => Just("\r")];
    (vec((foreign_line(), ending()), 0..12), ending(), any::<bool>()).prop_map(|(lines, first, finished)| {
        let mut file = [b"VERSION=1,0", first.as_bytes()].concat();
        for (line, ending) in &lines {
            file.extend_from_slice(line);
            file.extend_from_slice(ending.as_bytes());
        }
        if !finished {
            file.truncate(file.trim_ascii_end().len());
        }
        file
    })
}

#[derive(Clone, Debug)]
enum Edit {
    Ensure { net: u8, hosts: Vec<u8> },
    Without { made: bool },
    Append(String),
}

fn edits() -> impl Strategy<Value = Vec<Edit>> {
    let ensure = (0_u8..3, proptest::collection::btree_set(3_u8..250, 0..6))
        .prop_map(|(net, hosts)| Edit::Ensure { net, hosts: hosts.into_iter().collect() });
    let append = "(answer VNET_(8|5|55)_(NAT|DHCP) (yes|no)|add_dhcp_mac_to_ip [58] 00:50:56:00:0b:[01][0-9] 10\\.10\\.0\\.[3-9]|\\PC{1,9})";
    vec(
        prop_oneof![3 => ensure, 1 => any::<bool>().prop_map(|made| Edit::Without { made }), 1 => append.prop_map(Edit::Append)],
        1..8,
    )
}

fn wish(net: u8, hosts: &[u8]) -> Wish {
    let reservation =
        |&host: &u8| (Mac::new([0, 0x50, 0x56, 0, 0x0b, host]), Ipv4Addr::new(10, 10, net, host));
    Wish {
        vmnet: VMNET,
        subnet: format!("10.10.{net}.0/24").parse().unwrap(),
        reservations: hosts.iter().map(reservation).collect(),
    }
}

fn made(wish: &Wish) -> Ours {
    Ours { vmnet: true, reservations: wish.reservations.clone() }
}

/// Returns the lines that are not about our network.
fn foreign(document: &Document) -> Vec<Vec<u8>> {
    let rows = document.lines.iter().map(|line| &line.text);
    rows.filter(|row| row.directive().and_then(directive::Directive::vmnet) != Some(VMNET))
        .map(|row| row.as_ref().to_vec())
        .collect()
}

/// What Fusion does to a file when it applies it: digests anew, and a UUID for what has none.
fn applied(document: &Document) -> Document {
    let mut applied = document.clone();
    for Vmnet { number, exists, uuid, .. } in document.vmnets() {
        if exists {
            applied.append(&format!("remove_answer VNET_{number}_DHCP_CFG_HASH"));
            applied.append(&format!("answer VNET_{number}_DHCP_CFG_HASH {number:040X}"));
        }
        if exists && uuid.is_none() && number == VMNET {
            applied
                .append(&format!("answer VNET_{number}_HOSTONLY_UUID 5B7C1D3A-7B5E-4A0F-9C53-1F0E2D3C4B5A"));
        }
    }
    applied
}

/// What Fusion does to a file now and then: sorted answers, then the rest, without comments.
fn compacted(document: &Document) -> Document {
    let model = document.model();
    let mut compact = Document::new();
    for (vmnet, network) in &model.networks {
        network
            .answers
            .iter()
            .for_each(|(key, value)| compact.append(&format!("answer VNET_{vmnet}_{key} {value}")));
    }
    model.settings.iter().for_each(|(key, value)| compact.append(&format!("answer {key} {value}")));
    for (vmnet, network) in &model.networks {
        for ((protocol, port), PortForward { guest, guest_port, description, .. }) in &network.forwards {
            let protocol = format!("{protocol:?}").to_lowercase();
            compact.append(&format!(
                "add_nat_portfwd {vmnet} {protocol} {port} {guest} {guest_port} {description}"
            ));
        }
        for (mac, address) in &network.reservations {
            compact.append(&format!("add_dhcp_mac_to_ip {vmnet} {mac} {address}"));
        }
        network
            .prefixes
            .iter()
            .for_each(|length| compact.append(&format!("add_nat_prefix {vmnet} {length}")));
    }
    model
        .bridges
        .iter()
        .for_each(|(name, vmnet)| compact.append(&format!("add_bridge_mapping {name} {vmnet}")));
    for line in &model.unknown {
        lines::append(&mut compact.lines, Row::new(line));
    }
    Document::of(compact.lines)
}

fn meaning(document: &Document) -> Model {
    document.model.clone().without_answers(&[model::HASH])
}

proptest! {
    #[test]
    fn any_bytes_below_the_version_are_kept(rest in vec(any::<u8>().prop_filter("NUL", |byte| *byte != 0), 0..120)) {
        let file = [b"VERSION=1,0\n", rest.as_slice()].concat();
        let document = Document::parse(&file).unwrap();
        prop_assert_eq!(document.render(), &file[..]);
        document.remarks();
        let with_nul = [file.as_slice(), b"\0"].concat();
        prop_assert_eq!(Document::parse(&with_nul).unwrap_err().reason, "binary data");
    }

    #[test]
    fn no_sequence_of_edits_touches_a_foreign_line(file in file(), edits in edits()) {
        let mut document = Document::parse(&file).unwrap();
        let mut expected = foreign(&document);
        let mut ours = Ours::default();
        for edit in edits {
            match edit {
                Edit::Ensure { net, hosts } => {
                    let wish = wish(net, &hosts);
                    let Ok(next) = document.ensure(&wish, ours.clone()) else { continue };
                    let again = next.ensure(&wish, made(&wish));
                    prop_assert_eq!(again.as_ref(), Ok(&next), "a second time changes nothing");
                    let there = next.reservations(VMNET);
                    prop_assert!(wish.reservations.iter().all(|wished| there.contains(wished)));
                    prop_assert_eq!(confined(Some(&document.render()), &next.render(), VMNET), Ok(()));
                    ours = made(&wish);
                    document = next;
                }
                Edit::Without { made } => {
                    document = document.without(VMNET, made, &ours.reservations);
                    prop_assert!(!document.reservations(VMNET).iter().any(|there| made || ours.reservations.contains(there)));
                    ours = Ours { vmnet: ours.vmnet && !made, ..Ours::default() };
                }
                Edit::Append(line) => {
                    let before = document.lines.len();
                    document.append(&line);
                    prop_assert_eq!(document.lines.len(), before + 1);
                    prop_assert!(document.lines.iter().all(|line| line.ending != lines::Ending::None), "whole lines");
                    let row = Row::new(line.as_bytes());
                    if row.directive().and_then(directive::Directive::vmnet) != Some(VMNET) {
                        expected.push(line.into_bytes());
                    }
                }
            }
            prop_assert_eq!(foreign(&document), expected.clone());
            prop_assert_eq!(&Document::parse(&document.render()).unwrap(), &document, "what is kept is what is written");
        }
    }

    #[test]
    fn the_way_back_is_exact_and_root_would_take_it(file in file(), hosts in proptest::collection::btree_set(3_u8..250, 0..6)) {
        let wish = wish(0, &hosts.into_iter().collect::<Vec<_>>());
        let original = Document::parse(&file).unwrap();
        let Ok(once) = original.ensure(&wish, Ours::default()) else { return Ok(()) };
        let undo = |now: &Document| restore(&now.render(), Some(&file), VMNET, true, &wish.reservations);
        prop_assert_eq!(undo(&once), &file[..]);
        let applied = applied(&once);
        let back = undo(&applied);
        let vmnets: Vec<_> = original.vmnets().into_iter().filter(|vmnet| vmnet.exists).collect();
        // A digest of somebody else's that is no digest is nothing that root would write again.
        if vmnets.iter().all(|vmnet| original.model.answer(vmnet.number, model::HASH).is_none()) {
            prop_assert_eq!(&back, &file[..]);
        }
        prop_assert_eq!(confined(Some(&applied.render()), &back, VMNET), Ok(()));
        let compacted = compacted(&applied);
        let back = undo(&compacted);
        prop_assert_eq!(confined(Some(&compacted.render()), &back, VMNET), Ok(()));
        prop_assert_eq!(meaning(&Document::parse(&back).unwrap()), meaning(&original));
    }

    #[test]
    fn root_takes_what_we_make_and_nothing_more(file in file(), extra in foreign_line(), at in any::<prop::sample::Index>()) {
        let original = Document::parse(&file).unwrap();
        let Ok(once) = original.ensure(&wish(0, &[3, 4]), Ours::default()) else { return Ok(()) };
        let judge = |document: &Document| confined(Some(&file), &document.render(), VMNET);
        prop_assert_eq!(judge(&once), Ok(()));
        let row = Row::new(&extra);
        let is_harmless = matches!(row.meaning, Meaning::Blank | Meaning::Comment)
            || row.directive().is_some_and(|directive| matches!(directive, directive::Directive::RemoveAnswer { key, .. } if key == model::HASH));
        let mut added = once.clone();
        let place = 1 + at.index(added.lines.len());
        added.lines.insert(place, Line { text: row, ending: lines::Ending::Lf });
        if is_harmless || place == added.lines.len() {
            return Ok(());
        }
        prop_assert!(judge(&added).is_err(), "{:?}", String::from_utf8_lossy(&added.render()));

        // Taking a line out is seen exactly if it was in effect.
        let mut fewer = once.clone();
        fewer.lines.remove(1 + at.index(fewer.lines.len() - 1));
        let fewer = Document::of(fewer.lines);
        // An empty line that comes to stand behind a bare carriage return is none when it is read: root, who sees that a line ends in
        // another way, refuses it, which is no loss.
        prop_assume!(Document::parse(&fewer.render()).unwrap() == fewer);
        let others = |document: &Document| meaning(&document.without(VMNET, true, &[]));
        prop_assert_eq!(judge(&fewer).is_ok(), others(&fewer) == others(&original) );
    }
}
