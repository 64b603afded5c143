use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use super::super::survey::{NetworkSeen, RootAccess, Survey};
use super::*;
use crate::formats::dhcp::{Host, Lease};
use crate::formats::mac::Mac;
use crate::formats::networking::{PortForward, Protocol, Vmnet};
use crate::formats::routes::Route;
use crate::lab::Lab;
use crate::lab::catalogue::Arch;
use crate::lab::resolve::resolve;
use crate::lab::{Nic, Node};
use crate::plan::facts::UnfinishedChange;

const NOW: u64 = 1_785_578_587;
const FILE: &str = "VERSION=1,0\nanswer VNET_8_NAT yes\n";

fn lab() -> Lab {
    resolve(None, None, Arch::Arm64).expect("the built-in lab is sound").lab
}

fn net(text: &str) -> Ipv4Net {
    text.parse().unwrap()
}

fn route(destination: &str, interface: &str) -> Route {
    Route { destination: net(destination), gateway: "link#22".to_owned(), interface: interface.to_owned() }
}

fn network_of(number: u8, subnet: &str) -> NetworkSeen {
    let subnet = Some(net(subnet));
    NetworkSeen {
        vmnet: Vmnet {
            number,
            exists: true,
            subnet,
            nat: true,
            dhcp: true,
            adapter: true,
            ..Vmnet::default()
        },
        services: vec![("DHCP", true), ("NAT", true)],
        ..NetworkSeen::default()
    }
}

/// A Mac on which Fusion was started once, and nothing else.
fn fresh() -> Survey {
    Survey {
        bytes: Some(FILE.into()),
        owner: Some((0, 0o100_644)),
        networks: vec![network_of(8, "172.16.8.0/24")],
        routes: Some(vec![route("0.0.0.0/0", "en0"), route("192.168.68.0/24", "en0")]),
        root: RootAccess::WithPassword,
        now: NOW,
        ..Survey::default()
    }
}

/// The same with the lab's network, whose DHCP server knows all reservations.
fn made() -> Survey {
    let lab = lab();
    let cards = || lab.nodes.iter().map(Node::internal);
    let mut ours = network_of(2, "10.10.0.0/24");
    ours.reservations = cards().map(|card| (card.mac, card.address)).collect();
    let host = |card: &Nic| Host { name: card.mac.to_string(), mac: card.mac, address: card.address };
    ours.fixed = Some(cards().map(host).collect());
    let mut survey = fresh();
    survey.networks.insert(0, ours);
    survey
        .routes
        .as_mut()
        .unwrap()
        .extend([route("10.10.0.0/24", "bridge101"), route("10.10.0.131/32", "bridge101")]);
    survey
}

fn check(survey: &Survey, id: &str) -> Check {
    network(&lab(), survey).into_iter().find(|check| check.id == id).unwrap_or_else(|| panic!("no {id}"))
}

#[track_caller]
fn says(survey: &Survey, id: &str, state: State, detail: &str) -> Vec<Remedy> {
    let check = check(survey, id);
    assert_eq!((check.state, check.detail.as_str()), (state, detail), "{id}");
    assert_eq!(check.fix.is_empty(), matches!(state, State::Ok | State::Unknown), "{id} says nothing to do");
    check.fix
}

#[test]
fn a_sound_mac_passes_before_and_after_the_network_is_made() {
    for survey in [fresh(), made()] {
        let bad: Vec<_> =
            network(&lab(), &survey).into_iter().filter(|check| check.state != State::Ok).collect();
        // The document's own addresses lie in the pool; that is its author's choice.
        assert_eq!(bad.iter().map(|check| check.id).collect::<Vec<_>>(), ["network.pool"], "{bad:#?}");
    }
}

#[test]
fn a_mac_on_which_fusion_was_never_started_is_only_warned() {
    let survey = Survey { bytes: None, owner: None, networks: Vec::new(), ..fresh() };
    let fix = says(&survey, "network.file", State::Warn, "it is not there: Fusion was never started");
    assert_eq!(fix, [Remedy::StartFusion]);
    assert!(network(&lab(), &survey).iter().all(|check| check.state != State::Fail));
}

#[test]
fn the_file_must_be_one_that_we_read_and_only_its_owner_writes() {
    let mut survey = Survey { bytes: Some(b"VERSION=2,0\n".to_vec()), ..fresh() };
    says(&survey, "network.file", State::Fail, "line 1: expected VERSION=1,0, found \"VERSION=2,0\"");
    survey = Survey { owner: Some((0, 0o100_664)), ..fresh() };
    says(&survey, "network.file", State::Fail, "others than its owner may write it: mode 0664");
    survey.owner = Some((501, 0o100_644));
    says(&survey, "network.file", State::Warn, "it belongs to user 501, not to root");
    survey.root = RootAccess::NotNeeded;
    says(&survey, "network.file", State::Ok, "2 lines, user 501's, mode 0644");
}

#[test]
fn a_line_without_effect_is_told_with_its_place() {
    let bytes = Some(b"VERSION=1,0\nanswer VNET_8_NAT maybe\nhello\n".to_vec());
    let check = check(&Survey { bytes, ..fresh() }, "network.remarks");
    assert_eq!((check.state, check.fix.as_slice()), (State::Warn, &[Remedy::SeeRemarks][..]));
    assert!(
        check.detail.starts_with("line 2: ") && check.detail.ends_with("; and 1 more"),
        "{}",
        check.detail
    );
}

#[test]
fn programs_that_others_may_change_are_nothing_for_root() {
    let mut survey = Survey { distrusted: vec!["/Applications is writable by admin".to_owned()], ..fresh() };
    says(&survey, "network.programs", State::Fail, "/Applications is writable by admin");
    survey.root = RootAccess::NotNeeded;
    assert_eq!(check(&survey, "network.programs").state, State::Fail, "we are root, and would run them");
    survey.owner = Some((501, 0o100_644));
    says(&survey, "network.programs", State::Ok, "not asked: they run as you, not as root");
}

#[test]
fn a_taken_vmnet_is_named_with_the_next_free_one() {
    let mut survey = fresh();
    let bridge = Vmnet { number: 2, bridged_to: Some("en0".to_owned()), ..Vmnet::default() };
    let bridge = NetworkSeen { vmnet: bridge, ..NetworkSeen::default() };
    survey.networks.insert(0, bridge);
    survey.networks.insert(1, network_of(3, "10.3.0.0/24"));
    let file = "VERSION=1,0\nadd_bridge_mapping en0 2\nanswer VNET_3_HOSTONLY_SUBNET 10.3.0.0\n";
    survey.bytes = Some(file.into());
    let fix = says(&survey, "network.vmnet", State::Fail, "it is the bridge to en0");
    assert_eq!(fix, [Remedy::OtherVmnet { free: 4 }]);
    survey.networks[0] = network_of(2, "10.99.0.0/24");
    says(&survey, "network.vmnet", State::Fail, "it is another network, 10.99.0.0/24");
    survey.networks[0] = network_of(2, "10.10.0.0/24");
    survey.networks[0].vmnet.nat = false;
    says(&survey, "network.vmnet", State::Fail, "10.10.0.0/24 without NAT");
    survey.networks[0].vmnet = Vmnet { number: 2, husk: true, ..Vmnet::default() };
    says(&survey, "network.vmnet", State::Ok, "free; what a deleted network left is taken over");
}

#[test]
fn another_network_with_our_addresses_is_named() {
    let mut survey = fresh();
    survey.networks.push(network_of(12, "10.10.0.128/25"));
    says(&survey, "network.subnet", State::Fail, "vmnet12 is 10.10.0.128/25");
}

#[test]
fn a_vpns_route_is_named_and_our_own_is_not() {
    let mut survey = fresh();
    survey.routes.as_mut().unwrap().push(route("10.0.0.0/8", "utun4"));
    let fix = says(&survey, "network.routes", State::Fail, "10.0.0.0/8 leads to utun4");
    assert_eq!(fix[0], Remedy::EndRoute { interface: "utun4".to_owned() });
    let mut survey = made();
    survey.routes.as_mut().unwrap().push(route("10.0.0.0/8", "utun4"));
    assert_eq!(check(&survey, "network.routes").state, State::Warn, "the more precise route wins");
    survey.routes.as_mut().unwrap().push(route("10.10.0.0/25", "utun4"));
    survey.routes.as_mut().unwrap().remove(4);
    says(&survey, "network.routes", State::Fail, "10.10.0.0/25 leads to utun4");
    survey.routes = None;
    says(&survey, "network.routes", State::Unknown, "the routes could not be read");
}

#[test]
fn addresses_in_the_pool_are_warned_of_with_those_that_are_safe() {
    let fix = says(
        &fresh(),
        "network.pool",
        State::Warn,
        "5 of 7 lie in 10.10.0.128 to 10.10.0.254: a stranger could be given one",
    );
    let (first, last) = (Ipv4Addr::new(10, 10, 0, 3), Ipv4Addr::new(10, 10, 0, 127));
    assert_eq!(fix, [Remedy::AddressesBelow { first, last }]);
}

#[test]
fn a_stranger_with_a_machines_address_is_found_while_its_lease_is_valid() {
    let stranger: Mac = "00:0c:29:11:22:33".parse().unwrap();
    let lease = |address: [u8; 4], ends| Lease {
        address: address.into(),
        mac: stranger,
        starts: NOW - 60,
        ends,
        hostname: Some("web".to_owned()),
    };
    let mut survey = made();
    survey.networks[0].leases = vec![lease([10, 10, 0, 131], NOW + 60), lease([10, 10, 0, 200], NOW + 60)];
    says(
        &survey,
        "network.leases",
        State::Fail,
        "10.10.0.131 of k8s-master1 is leased to 00:0c:29:11:22:33 (web)",
    );
    survey.networks[0].leases.push(lease([10, 10, 0, 131], NOW - 1));
    says(&survey, "network.leases", State::Ok, "1 lease valid now");
    survey.networks[0].reservations.push((stranger, Ipv4Addr::new(10, 10, 0, 131)));
    says(
        &survey,
        "network.reserved",
        State::Fail,
        "10.10.0.131 of k8s-master1 is reserved for 00:0c:29:11:22:33",
    );
}

#[test]
fn services_that_do_not_run_fail_on_our_network_and_warn_elsewhere() {
    let mut survey = made();
    survey.networks[1].services[1].1 = false;
    says(&survey, "network.services", State::Warn, "1 of 4 do not run: NAT of vmnet8");
    survey.networks[0].services[0].1 = false;
    let fix =
        says(&survey, "network.services", State::Fail, "2 of 4 do not run: DHCP of vmnet2, NAT of vmnet8");
    assert_eq!(fix, [Remedy::ApplyNetwork]);
}

#[test]
fn reservations_that_the_dhcp_server_does_not_know_are_counted() {
    let mut survey = made();
    survey.networks[0].fixed.as_mut().unwrap().pop();
    says(&survey, "network.dhcpd", State::Fail, "vmnet2/dhcpd.conf lacks 1 of 7");
    survey.networks[0].fixed = None;
    says(&survey, "network.dhcpd", State::Fail, "vmnet2 has no dhcpd.conf");
}

#[test]
fn another_home_network_is_a_hint_before_the_lab_and_a_failure_after() {
    let here = |subnet: &str| vec![("en0".to_owned(), net(subnet))];
    let state = |here: &[_], stands| home(&lab(), here, stands).state;
    assert_eq!(state(&here("192.168.68.0/24"), true), State::Ok);
    assert_eq!(state(&[], true), State::Unknown);
    assert_eq!(state(&here("192.168.1.0/24"), true), State::Fail);
    let hint = home(&lab(), &here("192.168.1.0/24"), false);
    assert_eq!((hint.state, hint.fix), (State::Warn, vec![Remedy::Init]));
    assert_eq!(hint.detail, "en0 is in 192.168.1.0/24, the lab wants 192.168.68.0/24");
}

#[test]
fn forwards_that_only_the_nat_service_knows_are_left_over() {
    let forward = |host_port| PortForward {
        protocol: Protocol::Tcp,
        host_port,
        guest: Ipv4Addr::new(172, 16, 8, 4),
        guest_port: 22,
        description: String::new(),
    };
    let mut survey = fresh();
    let kept = PortForward { description: "vagrant: /Users/me".to_owned(), ..forward(2222) };
    survey.networks[0].forwards = vec![kept];
    survey.networks[0].nat_forwards = Some(vec![forward(2222)]);
    says(&survey, "network.forwards", State::Ok, "1 forwarded port");
    survey.networks[0].nat_forwards.as_mut().unwrap().push(forward(2200));
    let fix = says(
        &survey,
        "network.forwards",
        State::Warn,
        "port 2200 in vmnet8/nat.conf: not in the networking file",
    );
    assert_eq!(fix, [Remedy::DropForwards { vmnet: 8 }]);
}

#[test]
fn a_half_done_change_and_an_open_window_are_told() {
    let since = "2026-08-01T10:03:07Z".to_owned();
    let unfinished = Some(UnfinishedChange { vmnet: 2, since });
    let survey = Survey { window_open: true, unfinished, ..fresh() };
    let detail = "one of vmnet2, begun 2026-08-01T10:03:07Z, was cut short";
    assert_eq!(says(&survey, "network.unfinished", State::Fail, detail), [Remedy::ApplyNetwork]);
    assert_eq!(check(&survey, "network.window").fix, [Remedy::QuitFusion]);
}

#[test]
fn of_each_lab_the_certificate_that_ends_first_is_told_if_it_ends_soon() {
    const DAY: u64 = 24 * 3600;
    let until = |ends| Validity { begins: 0, ends };
    let lab = |lab: &str, days: &[u64]| LabCertificates {
        lab: lab.to_owned(),
        all: days.iter().map(|day| (format!("number {day}"), until(100 * DAY + day * DAY))).collect(),
    };
    let detail = |labs: &[LabCertificates]| certificates(labs, 100 * DAY).detail;
    assert_eq!(detail(&[]), "none: there is no lab");
    assert_eq!(detail(&[lab("a", &[31, 300])]), "none of 1 lab");
    let labs = [lab("a", &[29, 300, 12]), lab("b", &[365]), lab("c", &[3])];
    assert_eq!(detail(&labs), "a: number 12 ends in 12 days, and 1 more; c: number 3 ends in 3 days");
    assert_eq!(certificates(&labs, 0).state, State::Ok);
    assert_eq!(certificates(&labs, 100 * DAY).fix, [Remedy::RenewCertificates]);
}
