//! Reading and editing whole files.

use proptest::prelude::*;

use super::*;

const LIVE: &str = include_str!("live.txt");

fn parse(text: &str) -> Document {
    Document::parse(text.as_bytes()).unwrap()
}

#[test]
fn a_live_file_is_understood() {
    let document = parse(LIVE);
    assert_eq!(document.render(), LIVE.as_bytes());
    let numbers: Vec<u8> = document.vmnets().iter().map(|vmnet| vmnet.number).collect();
    assert_eq!(numbers, [1, 2, 3, 8, 10]);
    let nat = document.vmnet(8);
    assert_eq!(nat.subnet, Some("192.168.215.0/24".parse().unwrap()));
    assert!(nat.exists && nat.nat && nat.dhcp && nat.adapter && !nat.husk);
    assert_eq!(nat.uuid.as_deref(), Some("9F1C5A27-0B6E-4C1B-8A57-2D0B3C4E5F60"));
    let bridge = document.vmnet(2);
    assert!(!bridge.exists && !bridge.husk);
    assert_eq!(bridge.bridged_to.as_deref(), Some("en0"));
    let husk = document.vmnet(3);
    assert!(!husk.exists && husk.husk);
    assert!(!document.vmnet(10).nat, "vmnet10 is not vmnet1");
    assert_eq!(document.answers(10)["DISPLAY_NAME"], "vSphere");
    assert_eq!(document.answers(1)["DHCP_CFG_HASH"], "F1AB0000000000000000000000000000000000AA");
}

#[test]
fn reservations_and_forwards_follow_the_journal() {
    let document = parse(LIVE);
    let mac: Mac = "12:34:56:78:9a:ab".parse().unwrap();
    assert_eq!(document.reservations(8), [(mac, "192.168.215.4".parse().unwrap())]);
    let forwards = document.port_forwards(8);
    assert_eq!(forwards.len(), 1);
    assert_eq!((forwards[0].host_port, forwards[0].guest_port), (2222, 22));
    assert_eq!(forwards[0].description, "vagrant: /Users/me/my box");
}

#[test]
fn comments_case_and_spacing_are_tolerated() {
    let text = "\r\nVERSION=1,0\r\n\tANSWER  vnet_2_dhcp\tyes # mine\r\nanswer VNET_2_DISPLAY_NAME \r\n\
                answer VNET_2_HOSTONLY_SUBNET 10.10.0.1\r\nanswer VNET_2_HOSTONLY_NETMASK 255.255.255.128\r\n\
                answer VNET_999_NAT yes\r\nadd_dhcp_mac_to_ip 2 0:50:56:0:b:1 10.10.0.3 # web";
    let document = parse(text);
    assert_eq!(document.render(), text.as_bytes());
    let vmnet = document.vmnet(2);
    assert!(vmnet.dhcp);
    assert_eq!(vmnet.subnet, Some("10.10.0.0/25".parse().unwrap()));
    assert_eq!(document.answers(2)["DISPLAY_NAME"], "");
    assert_eq!(document.reservations(2).len(), 1);
    assert_eq!(document.vmnets().len(), 1);
}

#[test]
fn a_file_that_is_not_ours_to_edit_is_refused_with_its_line() {
    let refusal = |bytes: &[u8]| Document::parse(bytes).unwrap_err();
    assert_eq!(refusal(b"VERSION=1,0\nanswer \0").reason, "binary data");
    assert_eq!(refusal(b"\nVERSION=2,0\n").line, 2);
    assert_eq!(refusal(b"answer VNET_1_DHCP yes\n").line, 1);
    assert_eq!(refusal(b"").line, 1);
}

proptest! {
    #[test]
    fn what_is_parsed_renders_to_the_same_bytes(text in "(\r?\n){0,2}VERSION=1,0([\r\n]{1,2}(\\PC{0,12}|answer VNET_[0-9]_(NAT|DHCP) (yes|no)|(add|remove)_[a-z_ 0-9]{0,20})){0,6}") {
        prop_assert_eq!(parse(&text).render(), text.clone().into_bytes());
        parse(&text).vmnets();
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
        if let Ok(document) = Document::parse(&bytes) {
            prop_assert_eq!(document.render(), bytes);
        }
    }
}

/// The network is there, or is not, but is not ours.
fn new() -> Ours {
    Ours::default()
}

/// The network is ours, and so are these reservations.
fn made(reservations: &[(Mac, Ipv4Addr)]) -> Ours {
    Ours { vmnet: true, reservations: reservations.to_vec() }
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
    let document = Document::new().ensure(&wish(2, &[131]), new()).unwrap();
    assert_eq!(text(&document), format!("VERSION=1,0\n{LAB}"));
    let document = parse("VERSION=1,0\r\nanswer VNET_8_NAT yes").ensure(&wish(2, &[131]), new()).unwrap();
    let expected = format!("VERSION=1,0\nanswer VNET_8_NAT yes\n{LAB}").replace('\n', "\r\n");
    assert_eq!(text(&document), expected);
}

#[test]
fn a_network_that_is_there_as_wished_only_gets_reservations() {
    let there = parse(&format!("VERSION=1,0\n{LAB}")).without(2, false, &[(mac(131), address(131))]);
    let document = there.ensure(&wish(2, &[131]), new()).unwrap();
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
    let ours = [(mac(131), address(131))];
    assert_eq!(text(&old.ensure(&wish, made(&ours)).unwrap()), expected);
    wish.reservations = vec![(mac(1), address(131))];
    let taken_over = old.ensure(&wish, made(&ours)).unwrap();
    assert_eq!(taken_over.reservations(2), [(mac(1), address(131))]);
}

#[test]
fn leavings_of_a_deleted_network_are_reused() {
    let document = parse(LIVE).ensure(&wish(3, &[131]), new()).unwrap();
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
        conflicts(LIVE, &wish(8, &[]), new()),
        ["vmnet8 is taken by another network (192.168.215.0/24)"]
    );
    assert_eq!(conflicts(LIVE, &wish(2, &[]), new()), ["vmnet2 is taken by the bridge to en0"]);
    let free = parse(LIVE).ensure(&wish(2, &[]), new()).unwrap_err()[0].free_vmnet();
    assert_eq!(free, Some(3), "a deleted network's number is free");
    let wide = Wish { subnet: "192.168.0.0/16".parse().unwrap(), ..wish(4, &[]) };
    assert_eq!(
        conflicts(LIVE, &wide, new()),
        [
            "192.168.0.0/16 overlaps 192.168.215.0/24 of vmnet8",
            "192.168.0.0/16 overlaps 192.168.110.0/24 of vmnet10"
        ]
    );
    assert_eq!(conflicts("VERSION=1,0\n", &wish(0, &[]), new()), ["vmnet0 is taken by another network"]);
    let lab = format!("VERSION=1,0\n{LAB}");
    let thief = Wish { reservations: vec![(mac(131), address(9)), (mac(9), address(131))], ..wish(2, &[]) };
    assert_eq!(
        conflicts(&lab, &thief, new()),
        [
            "00:50:56:00:0b:83 on vmnet2 has 10.10.0.131 reserved, not 10.10.0.9",
            "10.10.0.131 on vmnet2 is reserved for 00:50:56:00:0b:83, not for 00:50:56:00:0b:09"
        ]
    );
    let silent = lab.replace("NAT yes", "NAT no").replace("DHCP yes", "DHCP no");
    assert_eq!(
        conflicts(&silent, &wish(2, &[]), new()),
        ["vmnet2 is there without NAT, DHCP, and is not this lab's alone to change"]
    );
    assert_eq!(parse(&silent).ensure(&wish(2, &[131]), made(&[])), Ok(parse(&lab)));
}

#[test]
fn what_fusion_added_to_our_network_goes_with_it() {
    let before = "VERSION=1,0\n# by hand\nanswer VNET_8_DHCP yes\nanswer VNET_8_DHCP_CFG_HASH AA";
    let ours = [(mac(131), address(131))];
    let made = text(&parse(before).ensure(&wish(2, &[131]), new()).unwrap());
    let applied = made
        + "answer VNET_2_HOSTONLY_UUID 5B7C\nremove_answer VNET_2_DHCP_CFG_HASH\n\
           answer VNET_2_DHCP_CFG_HASH F1\nremove_answer VNET_8_DHCP_CFG_HASH\nanswer VNET_8_DHCP_CFG_HASH BB\n";
    assert_eq!(restore(applied.as_bytes(), Some(before.as_bytes()), 2, true, &ours), before.as_bytes());
    let touched = applied.clone() + "answer VNET_8_NAT yes\n";
    let kept =
        String::from_utf8(restore(touched.as_bytes(), Some(before.as_bytes()), 2, true, &ours)).unwrap();
    assert!(kept.contains("VNET_8_NAT yes") && !kept.contains("VNET_2"), "{kept}");
    for remark in ["# mine\n", "set_wonders on\n"] {
        let touched = applied.clone() + remark;
        let kept =
            String::from_utf8(restore(touched.as_bytes(), Some(before.as_bytes()), 2, true, &ours)).unwrap();
        assert!(kept.contains(remark) && !kept.contains("VNET_2"), "{kept}");
    }
    let absent = Document::new().ensure(&wish(2, &[131]), new()).unwrap().render();
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
    (proptest::collection::vec(line, 0..8), ending, any::<bool>()).prop_map(|(lines, ending, finished)| {
        let text = [vec!["VERSION=1,0".to_owned()], lines].concat().join(ending);
        if finished { text + ending } else { text }
    })
}

proptest! {
    #[test]
    fn a_second_wish_changes_nothing_and_the_way_back_is_exact(file in files(), hosts in proptest::collection::btree_set(3_u8..255, 0..5)) {
        let hosts: Vec<u8> = hosts.into_iter().collect();
        let wish = wish(2, &hosts);
        let before = parse(&file);
        let once = before.ensure(&wish, new()).unwrap();
        prop_assert_eq!(once.ensure(&wish, made(&wish.reservations)), Ok(once.clone()));
        prop_assert_eq!(once.ensure(&wish, new()), Ok(once.clone()));
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
        let once = parse(&file).ensure(&wish, new()).unwrap();
        prop_assert_eq!(once.ensure(&wish, made(&wish.reservations)), Ok(once.clone()));
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
    let file = "VERSION=1,0\nadd_dhcp_mac_to_ip 2 00:50:56:00:0b:04 10.10.0.3\n\
                add_dhcp_mac_to_ip 2 00:50:56:00:0b:04 10.10.0.5\n";
    let wish = Wish { reservations: vec![(mac(1), address(3)), (mac(2), address(5))], ..wish(2, &[]) };
    let once = parse(file).ensure(&wish, made(&[(mac(4), address(5))])).unwrap();
    assert_eq!(once.ensure(&wish, made(&wish.reservations)).unwrap().render(), once.render());
    assert_eq!(once.reservations(2), wish.reservations);
}

#[test]
fn on_our_own_network_only_our_reservations_are_replaced() {
    let two_labs = parse(&format!("VERSION=1,0\n{LAB}add_dhcp_mac_to_ip 2 00:50:56:00:0c:01 10.10.0.40\n"));
    let ours = made(&[(mac(131), address(131))]);
    let taken = two_labs.ensure(&wish(2, &[40]), ours.clone()).unwrap_err();
    assert_eq!(
        taken.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["10.10.0.40 on vmnet2 is reserved for 00:50:56:00:0c:01, not for 00:50:56:00:0b:28"]
    );
    let smaller = two_labs.ensure(&wish(2, &[5]), ours).unwrap();
    let other_lab = "00:50:56:00:0c:01".parse().unwrap();
    assert_eq!(
        smaller.reservations(2),
        [(mac(5), address(5)), (other_lab, address(40))],
        "what we do not wish any more goes, what another lab reserved stays"
    );
}

#[test]
fn leavings_come_back_even_if_others_changed_something_since() {
    let ours = [(mac(131), address(131))];
    let mut now = parse(LIVE).ensure(&wish(3, &[131]), new()).unwrap();
    now.append("answer VNET_8_DISPLAY_NAME mine");
    let back =
        parse(&String::from_utf8(restore(&now.render(), Some(LIVE.as_bytes()), 3, true, &ours)).unwrap());
    let mut expected = parse(LIVE);
    expected.append("answer VNET_8_DISPLAY_NAME mine");
    assert_eq!(back.model(), expected.model());
}

#[test]
fn lines_that_are_not_text_are_kept_and_told() {
    let file = b"VERSION=1,0\nanswer VNET_2_DISPLAY_NAME caf\xe9\n\xff\xfe\r\n# fine\n";
    let document = Document::parse(file).unwrap();
    assert_eq!(document.render(), file);
    assert!(document.vmnets().is_empty());
    let told: Vec<_> = document.remarks().iter().map(|remark| remark.line).collect();
    assert_eq!(
        told,
        [0, 2, 3, 3],
        "a comment, two lines that are not UTF-8, one of them with another ending"
    );
    let wished = document.ensure(&wish(2, &[5]), new()).unwrap();
    assert!(wished.render().starts_with(file));
}

#[test]
fn what_is_odd_is_told_with_its_line_and_stops_nothing() {
    let live: Vec<_> = parse(LIVE).remarks().into_iter().map(|remark| remark.text).collect();
    assert_eq!(
        live.len(),
        1,
        "a file as Fusion leaves it is nothing to talk about but for Vagrant's: {live:?}"
    );
    assert!(live[0].starts_with("the description of port 2222: Fusion may drop it"), "{live:?}");
    let told = |lines: &str| -> Vec<String> {
        let remarks = parse(&format!("VERSION=1,0\n{lines}")).remarks();
        remarks.iter().map(|remark| format!("{}: {}", remark.line, remark.text)).collect()
    };
    let net = |vmnet: u8| format!("answer VNET_{vmnet}_HOSTONLY_SUBNET 10.10.0.0\n");
    for (lines, remark) in [
        ("frobnicate 2\n", "2: not a line that we know, kept as it is: \"frobnicate 2\""),
        ("add_nat_portfwd 8 tcp 2222 :22\n", "2: not a line that we know"),
        ("answer VNET_300_NAT yes\n", "2: VNET_300_NAT names no vmnet"),
        ("answer VNET_2_NAT maybe\n", "2: NAT of vmnet2 is \"maybe\", neither yes nor no"),
        ("answer VNET_2_HOSTONLY_SUBNET x\n", "2: HOSTONLY_SUBNET of vmnet2 is \"x\", which is no address"),
        ("answer VNET_2_HOSTONLY_SUBNET x\n", "0: the subnet and mask of vmnet2 are no network"),
        ("answer VNET_2_DHCP_PARAM_ROUTERS 10.0.0.1\n", "2: DHCP_PARAM_ROUTERS of vmnet2 was set by hand"),
        ("answer VNET_2_NAT yes", "2: the last line is not finished"),
        ("answer VNET_2_DISPLAY_NAME \n", "2: VNET_2_DISPLAY_NAME has no value"),
        ("answer VNET_2_NAT yes # mine\n# ours\n", "0: 2 comments: kept by us, but Fusion may drop"),
        ("answer VNET_2_NAT yes\r\n", "2: from here on, lines end otherwise"),
        (&(net(2) + &net(4)), "0: 10.10.0.0/24 of vmnet2 overlaps 10.10.0.0/24 of vmnet4"),
        (&(net(2) + "add_bridge_mapping en0 2\n"), "0: vmnet2 has a subnet and is the bridge to en0 too"),
        (
            &(net(2) + "add_dhcp_mac_to_ip 2 0:50:56:0:b:3 10.10.0.2\n"),
            "3: vmnet2 cannot give 00:50:56:00:0b:03",
        ),
    ] {
        assert!(told(lines).iter().any(|told| told.starts_with(remark)), "{remark}: {:?}", told(lines));
    }
    let overruled = "answer VNET_2_NAT maybe\nanswer VNET_2_NAT yes\n";
    assert_eq!(told(overruled), [""; 0], "a line that is overruled does not matter");
    let twice = "add_dhcp_mac_to_ip 2 0:50:56:0:b:3 10.0.0.9\nadd_dhcp_mac_to_ip 2 0:50:56:0:b:4 10.0.0.9\n";
    assert_eq!(told(twice), ["3: 10.0.0.9 is reserved for 00:50:56:00:0b:03 and for 00:50:56:00:0b:04"]);
}

#[test]
fn an_answer_in_its_place_has_the_files_own_ending() {
    // Found by fuzzing: root refused what we had made, because of a bare CR in a file of LF.
    let file = "VERSION=1,0\nanswer VNET_5_NAT no\ranswer VNET_8_NAT yes\n";
    let made = parse(file).ensure(&wish(5, &[3]), new()).unwrap();
    assert!(text(&made).starts_with("VERSION=1,0\nanswer VNET_5_NAT yes\nanswer VNET_8_NAT yes\n"));
    assert_eq!(confined(Some(file.as_bytes()), &made.render(), 5), Ok(()));
}
