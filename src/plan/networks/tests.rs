//! What becomes of Fusion's networking file, from which facts.

use std::net::Ipv4Addr;
use std::path::PathBuf;

use super::super::facts::UnfinishedChange;
use super::super::fixture::World;
use super::*;
use crate::formats::mac::Mac;
use crate::formats::routes::Route;
use crate::plan::kind::Kind;

fn change(edit: NetworkEdit) -> NetworkChange {
    match edit {
        NetworkEdit::Change(change) => change,
        other => panic!("a change was expected: {other:?}"),
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn append(world: &mut World, lines: &str) {
    world.facts.networking.as_mut().unwrap().extend(lines.as_bytes());
}

fn route(destination: &str, interface: &str) -> Route {
    Route {
        destination: destination.parse().unwrap(),
        gateway: "link#22".to_owned(),
        interface: interface.to_owned(),
    }
}

/// Another lab's machine on the same network.
const ANOTHERS: &str = "add_dhcp_mac_to_ip 2 00:50:56:01:00:03 10.10.0.77\n";

fn stranger() -> PathBuf {
    "/library/web.vmwarevm/web.vmx".into()
}

#[test]
fn reservations_of_an_earlier_lab_file_are_taken_out_and_only_dhcp_restarts() {
    let mut world = World::complete();
    let worker = world.lab.nodes.iter_mut().find(|node| node.name == "k8s-worker1").unwrap();
    let (old, new) = (worker.address(), Ipv4Addr::new(10, 10, 0, 41));
    worker.nics[0].address = new;
    let change = change(edit(&world.lab, &world.facts));
    let after = text(&change.after);
    assert!(after.contains(&format!(" {new}\n")) && !after.contains(&format!(" {old}\n")), "{}", change.diff);
    assert_eq!(change.scope, Scope::Reservations);
    let step = apply_step(&world.lab, &NetworkEdit::Change(change), &world.facts).unwrap();
    assert!(step.text.contains("only its DHCP restarts"), "{}", step.text);
}

#[test]
fn what_we_made_is_unmade_to_the_byte() {
    let (before, world) = (World::empty().facts.networking.unwrap(), World::complete());
    let change = change(without(&world.facts, &[b"VERSION=1,0\n", &before]));
    assert_eq!(text(&change.after), text(&before));
    assert_eq!(change.scope, Scope::Networks);
}

#[test]
fn what_somebody_changed_since_stays() {
    let (before, mut world) = (World::empty().facts.networking.unwrap(), World::complete());
    append(&mut world, "answer VNET_8_NAT_PARAM_UDP_TIMEOUT 90\n");
    let after = text(&change(without(&world.facts, &[&before])).after);
    assert_eq!(after, text(&before) + "answer VNET_8_NAT_PARAM_UDP_TIMEOUT 90\n");
}

#[test]
fn a_network_that_another_lab_uses_stays_and_goes_with_the_last_lab() {
    let before = World::empty().facts.networking.unwrap();
    let mut first = World::complete();
    append(&mut first, ANOTHERS);
    let kept = text(&change(without(&first.facts, &[&before])).after);
    assert!(kept.contains("VNET_2_NAT yes") && kept.contains("10.10.0.77"), "{kept}");
    assert!(!kept.contains("10.10.0.131"), "{kept}");

    let mut last = first.clone();
    last.facts.networking = Some(kept.into_bytes());
    let mac: Mac = "00:50:56:01:00:03".parse().unwrap();
    let reservation = (mac, Ipv4Addr::new(10, 10, 0, 77));
    last.facts.network_record.as_mut().unwrap().reservations = vec![reservation];
    last.facts.network_made.as_mut().unwrap().reservations.push(reservation);
    assert_eq!(text(&change(without(&last.facts, &[&before])).after), text(&before));
}

#[test]
fn a_network_that_goes_does_not_come_back_from_a_file_that_another_lab_had_made_it_in() {
    let before = World::empty().facts.networking.unwrap();
    let mut world = World::complete();
    let ours = world.facts.networking.clone().unwrap();
    let edited = "answer VNET_8_NAT_PARAM_UDP_TIMEOUT 45\n";
    // This lab came second: after somebody's edit, and when the network stood with the first lab's reservation.
    let without_us: String = text(&ours)
        .lines()
        .filter(|line| !line.starts_with("add_dhcp"))
        .map(|line| format!("{line}\n"))
        .collect();
    let first_labs = format!("{without_us}add_dhcp_mac_to_ip 2 00:50:56:10:00:01 10.10.0.99\n{edited}");
    append(&mut world, edited);
    let after = text(&change(without(&world.facts, &[&before, first_labs.as_bytes()])).after);
    assert_eq!(after, text(&before) + edited);
}

#[test]
fn a_network_that_another_lab_uses_is_not_given_another_subnet() {
    let mut world = World::complete();
    append(&mut world, ANOTHERS);
    assert!(matches!(edit(&world.lab, &world.facts), NetworkEdit::Satisfied));
    world.lab.internal.subnet = "10.20.0.0/24".parse().unwrap();
    let NetworkEdit::Conflict(conflicts) = edit(&world.lab, &world.facts) else {
        panic!("it is shared");
    };
    assert!(conflicts[0].to_string().contains("vmnet2 is taken"), "{conflicts:?}");
}

#[test]
fn a_network_that_somebody_made_in_our_networks_place_is_theirs() {
    let mut world = World::complete();
    world.facts.network_made.as_mut().unwrap().uuid = Some("AAAA".to_owned());
    append(&mut world, "answer VNET_2_HOSTONLY_UUID BBBB\n");
    let after = text(&change(without(&world.facts, &[])).after);
    assert!(after.contains("VNET_2_NAT yes") && !after.contains("add_dhcp_mac_to_ip 2"), "{after}");

    let mut unnamed = World::complete();
    unnamed.facts.network_made.as_mut().unwrap().reservations.clear();
    let after = text(&change(without(&unnamed.facts, &[])).after);
    assert!(after.contains("VNET_2_NAT yes"), "a record without a name of Fusion's proves nothing: {after}");

    let mut cut_short = World::complete();
    append(&mut cut_short, "answer VNET_2_HOSTONLY_SUBNET 172.16.5.0\n");
    let after = text(&change(without(&cut_short.facts, &[])).after);
    assert!(after.contains("172.16.5.0"), "another subnet is another network: {after}");
}

#[test]
fn without_a_record_nothing_is_ours() {
    let mut world = World::complete();
    world.facts.network_record = None;
    assert!(matches!(without(&world.facts, &[]), NetworkEdit::Satisfied));
}

#[test]
fn a_lab_that_moves_to_another_vmnet_is_told_to_go_first() {
    let mut world = World::complete();
    world.lab.internal.vmnet = 3;
    assert!(matches!(edit(&world.lab, &world.facts), NetworkEdit::Moved { from: 2 }));
    let obstacles = plan_apply(&world.lab, &world.facts).unwrap_err();
    assert_eq!(obstacles, [Obstacle::NetworkMoved { from: "vmnet2".to_owned(), to: "vmnet3".to_owned() }]);
}

#[test]
fn a_change_that_was_cut_short_is_seen_through_whatever_the_file_says() {
    let mut world = World::complete();
    let since = "2026-11-23T14:23:55Z".to_owned();
    world.facts.unfinished = Some(UnfinishedChange { vmnet: 2, since });
    let steps = world.steps();
    assert!(steps.contains(&"network.apply".to_owned()), "{steps:?}");
    // A lab without machines and lines: `destroy` still sees to it that Fusion's networks run.
    world.facts.network_record = None;
    let step = restore_step(&without(&world.facts, &[]), &world.facts).unwrap();
    assert!(step.why.contains("cut short") && step.text.contains("see that they run"), "{step:?}");
}

#[test]
fn a_route_of_somebody_else_is_in_the_way_as_long_as_the_network_is_to_be_made() {
    let mut world = World::empty();
    world.facts.host.routes =
        vec![route("0.0.0.0/0", "en0"), route("192.168.68.0/24", "en0"), route("10.0.0.0/8", "utun4")];
    let obstacles = plan_apply(&world.lab, &world.facts).unwrap_err();
    let [Obstacle::SubnetRouted { interface, destination, .. }] = obstacles.as_slice() else {
        panic!("one route is in the way: {obstacles:?}");
    };
    assert_eq!((interface.as_str(), destination.as_str()), ("utun4", "10.0.0.0/8"));

    world.facts.networking = None;
    assert!(plan_apply(&world.lab, &world.facts).is_err(), "also where Fusion was never started");

    let mut standing = World::complete();
    standing.facts.host.routes = world.facts.host.routes.clone();
    standing.facts.host.routes.push(route("10.10.0.0/24", "bridge100"));
    assert!(standing.steps().is_empty());
}

#[test]
fn our_machines_are_stopped_before_the_networks_restart_and_started_after() {
    let mut world = World::complete();
    append(&mut world, "answer VNET_2_NAT no\n");
    let plan = world.up().unwrap();
    let at = |id: &str| plan.steps.iter().position(|step| step.id.as_str() == id).unwrap();
    for node in &world.lab.nodes {
        assert!(at(&format!("vm.stop/{}", node.name)) < at("network.apply"));
        let start = &plan.steps[at(&format!("vm.start/{}", node.name))];
        assert!(start.needs.contains(&Kind::NetworkApply.id()), "{start:?}");
    }
    assert_eq!(plan.steps[at("network.apply")].needs.len(), world.lab.nodes.len());
    let obstacles = plan_apply(&world.lab, &world.facts).unwrap_err();
    assert!(matches!(obstacles.as_slice(), [Obstacle::OwnRunning { nodes }] if nodes.len() == 7));
}

#[test]
fn only_what_restarts_networks_minds_machines_of_others() {
    let mut world = World::complete();
    world.facts.host.running.push(stranger());
    let mac = world.lab.nodes[0].internal().mac;
    append(&mut world, &format!("remove_dhcp_mac_to_ip 2 {mac}\n"));
    assert!(obstacles(&edit(&world.lab, &world.facts), &world.facts).is_empty(), "only DHCP restarts");
    append(&mut world, "answer VNET_2_NAT no\n");
    let found = obstacles(&edit(&world.lab, &world.facts), &world.facts);
    assert_eq!(found, [Obstacle::OthersRunning { vmx: vec![stranger()] }]);
    let undo = plan_undo(&world.facts, &without(&world.facts, &[])).unwrap_err();
    assert!(undo.contains(&Obstacle::OthersRunning { vmx: vec![stranger()] }), "{undo:?}");
}

#[test]
fn services_that_do_not_run_are_started_under_whatever_runs() {
    let mut world = World::complete();
    world.facts.network_running = false;
    world.facts.host.running.push(stranger());
    let plan = world.up().unwrap();
    assert_eq!(plan.steps.len(), 1, "{plan:?}");
    assert_eq!(plan.steps[0].action.of_networks(), Some(("", Scope::Nothing)));
}

#[test]
fn a_backup_is_put_back_whole() {
    let world = World::empty();
    let backup = b"VERSION=1,0\nanswer VNET_8_NAT no\n";
    let edit = put_back(&world.facts, backup, 2);
    let plan = plan_put_back("20261126T101500Z-0123456789ab", &world.facts, &edit).unwrap();
    let (diff, scope) = plan.steps[0].action.of_networks().unwrap();
    assert!(diff.contains("+answer VNET_8_NAT no"), "{diff}");
    assert_eq!(scope, Scope::Networks);
    let same = put_back(&world.facts, world.facts.networking.as_deref().unwrap(), 2);
    assert!(plan_put_back("x", &world.facts, &same).unwrap().is_empty());
    assert!(plan_put_back("x", &world.facts, &put_back(&world.facts, b"\0", 2)).is_err());
}

#[test]
fn a_backup_that_is_there_already_only_restarts_what_a_cut_run_left() {
    let mut world = World::complete();
    let there = world.facts.networking.clone().unwrap();
    let since = "2026-11-23T14:23:55Z".to_owned();
    world.facts.unfinished = Some(UnfinishedChange { vmnet: 2, since });
    let same = put_back(&world.facts, &there, 2);
    let refused = plan_put_back("x", &world.facts, &same).unwrap_err();
    assert!(matches!(refused.as_slice(), [Obstacle::OwnRunning { nodes }] if nodes.len() == 7));
    world.facts.vms.values_mut().for_each(|vm| vm.running = false);
    let plan = plan_put_back("x", &world.facts, &same).unwrap();
    let action = &plan.steps[0].action;
    assert!(matches!(action, Action::PutBackNetwork { diff, .. } if diff.is_empty()), "{action:?}");
}

#[test]
fn what_an_older_network_left_under_our_number_comes_back_whatever_others_changed() {
    let husk = "answer VNET_2_DHCP no\nanswer VNET_2_HOSTONLY_UUID 1C9D4F60-52B8-4E7A-9A7D-3E5A6B7C8D9E\n\
        answer VNET_2_NAT no\nanswer VNET_2_VIRTUAL_ADAPTER no\n";
    let mut world = World::empty();
    append(&mut world, husk);
    let before = world.facts.networking.clone().unwrap();
    let after = change(edit(&world.lab, &world.facts)).after;
    world.facts = World::complete().facts;
    world.facts.networking = Some(after);
    append(&mut world, "answer VNET_8_NAT_PARAM_UDP_TIMEOUT 90\n");
    let undone = text(&change(without(&world.facts, &[&before])).after);
    // All of them and nothing else; those whose lines had to change stand last.
    let sorted = |text: &str| {
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    let expected = text(&before) + "answer VNET_8_NAT_PARAM_UDP_TIMEOUT 90\n";
    assert_eq!(sorted(&undone), sorted(&expected));
}
