//! What each answer is judged by, what is proposed, and that a printed command says what its file says.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use super::answers::{Given, LanAnswer, Seen, Takes};
use super::{check, defaults, told, write};
use crate::host::surroundings::{LanInterface, Surroundings};
use crate::lab::catalogue::Arch;
use crate::lab::presets::Preset;
use crate::lab::resolve::resolve;

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f me@mac";

fn address(text: &str) -> Ipv4Addr {
    text.parse().unwrap()
}

fn way(interface: &str, subnet: &str, wireless: bool) -> LanInterface {
    let subnet: ipnet::Ipv4Net = subnet.parse().unwrap();
    let mut hosts = subnet.hosts();
    let router = hosts.next();
    LanInterface {
        interface: interface.to_owned(),
        name: if wireless { "Wi-Fi" } else { "Ethernet" }.to_owned(),
        wireless,
        address: hosts.next().unwrap(),
        subnet,
        router,
        dns: router.into_iter().collect(),
    }
}

/// A Mac with a cable and Wi-Fi, a vmnet8, and somebody at two addresses.
fn seen() -> Seen {
    let sizes = [(Preset::Ha, 22, 12), (Preset::Small, 9, 5), (Preset::Solo, 5, 3)];
    let mac = "38:94:ed:56:6f:8d".parse().unwrap();
    Seen {
        around: Surroundings {
            lan: vec![way("en4", "192.168.68.0/24", false), way("en0", "10.0.0.0/22", true)],
            memory_mib: 16 << 10,
            cpus: 8,
            disk_free_mib: None,
            ssh_keys: vec![PathBuf::from("/home/me/.ssh/id_ed25519.pub")],
        },
        networks: vec![
            (2, Some("10.10.0.0/24".parse().unwrap())),
            (8, Some("172.16.59.0/24".parse().unwrap())),
        ],
        routes: vec![("10.10.1.0/24".parse().unwrap(), "utun4".to_owned())],
        labs: ["lab".to_owned()].into(),
        ours: [(address("192.168.68.202"), "the VIP of lab \"lab\"".to_owned())].into(),
        asked: [(address("192.168.68.200"), Some(mac)), (address("192.168.68.56"), Some(mac))].into(),
        sizes: sizes.map(|(preset, gib, cpus)| (preset, Takes { memory_mib: gib << 10, cpus })).to_vec(),
        ..Seen::default()
    }
}

fn lan() -> LanAnswer {
    check::lan(&Given::default(), &seen()).unwrap()
}

#[test]
fn an_address_is_refused_with_the_reason() {
    let (lan, seen) = (lan(), seen());
    for (text, reason) in [
        ("192.168.1.5", "lies outside the home network 192.168.68.0/24"),
        ("192.168.68.0", "the first address"),
        ("192.168.68.255", "the last address"),
        ("192.168.68.1", "is the router's"),
        ("192.168.68.2", "this Mac's own"),
        ("192.168.68.200", "is taken: 38:94:ed:56:6f:8d answers there"),
        ("192.168.68.202", "is taken: the VIP of lab \"lab\" has it"),
        ("x", "is not an IPv4 address"),
        ("192.168.68.9/24", "without the prefix length"),
        ("", "is not an IPv4 address"),
    ] {
        let refused = check::vip(text, &lan, &seen).unwrap_err();
        assert!(refused.contains(reason), "{text}: {refused}");
    }
    assert_eq!(check::vip(" 192.168.68.201 ", &lan, &seen), Ok(address("192.168.68.201")));
}

#[test]
fn gateways_have_addresses_of_their_own_one_each() {
    let (lan, seen) = (lan(), seen());
    let vip = address("192.168.68.201");
    let judge = |text| check::gateways(text, (Preset::Ha, &lan, Some(vip)), &seen);
    for (text, reason) in [
        ("192.168.68.57", "ha takes 2 addresses, not 1"),
        ("192.168.68.57, 192.168.68.57", "stands twice"),
        ("192.168.68.57 192.168.68.201", "is the VIP already"),
        ("192.168.68.57,192.168.68.56", "is taken"),
    ] {
        let refused = judge(text).unwrap_err();
        assert!(refused.contains(reason), "{text}: {refused}");
    }
    assert_eq!(judge("192.168.68.57 ,192.168.68.58").unwrap().len(), 2);
}

#[test]
fn the_internal_network_keeps_out_of_everything() {
    let (lan, seen) = (lan(), seen());
    let judge = |text| check::internal(text, Some((3, "10.10.2.0/24".parse().unwrap())), &lan, &seen);
    for (text, reason) in [
        ("vmnet8", "Fusion's own"),
        ("vmnet2", "Fusion has a vmnet2 already, with 10.10.0.0/24"),
        ("192.168.0.0/16", "overlaps the home network"),
        ("10.244.1.0/24", "overlaps the pods' network"),
        ("10.10.1.0/24", "overlaps the route to 10.10.1.0/24 by utun4"),
        ("172.16.59.0/24", "overlaps vmnet8"),
        ("10.9.0.0/28", "too small"),
        ("8.8.8.0/24", "belongs to others"),
        ("10.9.0.1/24", "write 10.9.0.0/24"),
        ("vmnetx", "not the number of a vmnet"),
    ] {
        let refused = judge(text).unwrap_err();
        assert!(refused.contains(reason), "{text}: {refused}");
    }
    assert_eq!(judge("10.9.0.0/24").unwrap().0, 3, "what is left out is as proposed");
    assert_eq!(judge("vmnet2 10.10.0.0/24").unwrap().0, 2, "a network that stands as it is said is meant");
}

#[test]
fn the_home_network_is_a_known_one_or_as_it_is_said() {
    let seen = seen();
    let of = |given: &Given| check::lan(given, &seen);
    let said = |text: &str| Some(text.to_owned());
    assert_eq!((lan().interface, lan().wifi), (None, None), "Fusion chooses the first itself");
    let wifi = of(&Given { interface: said("en0"), ..Given::default() }).unwrap();
    assert_eq!((wifi.interface.as_deref(), wifi.wifi.as_deref()), (Some("en0"), Some("en0")));
    let own =
        of(&Given { lan: said("172.20.0.0/24"), router: said("172.20.0.254"), ..Given::default() }).unwrap();
    assert_eq!((own.router, own.dns), (address("172.20.0.254"), vec![address("172.20.0.254")]));
    for (given, option, reason) in [
        (Given { lan: said("192.168.68.0/30"), ..Given::default() }, "--lan", "too small"),
        (Given { lan: said("192.168.68.9/24"), ..Given::default() }, "--lan", "write 192.168.68.0/24"),
        (Given { router: said("10.9.9.9"), ..Given::default() }, "--router", "outside"),
        (Given { interface: said("en9"), ..Given::default() }, "--interface", "en9 is not connected"),
        (Given { dns: said("x"), ..Given::default() }, "--dns", "not an IPv4 address"),
    ] {
        let refused = of(&given).unwrap_err();
        assert!(refused[0].0 == option && refused[0].1.contains(reason), "{refused:?}");
    }
    let nowhere = check::lan(&Given::default(), &Seen::default()).unwrap_err();
    assert!(nowhere[0].1.contains("no home network was found"), "{nowhere:?}");
}

#[test]
fn keys_domains_and_names_are_judged_as_the_lab_file_would() {
    assert_eq!(check::key("k.pub", Some(KEY)).unwrap().line, KEY);
    assert!(
        check::key("k", Some("-----BEGIN OPENSSH PRIVATE KEY-----")).unwrap_err().contains("private key")
    );
    assert!(check::key("k", None).unwrap_err().contains("there is no file k"));
    let home = Some(Path::new("/home/me"));
    assert_eq!(check::key_files("~/.ssh/a.pub, b.pub", home)[0].1, Path::new("/home/me/.ssh/a.pub"));
    assert_eq!(check::key_files("none", home), []);
    assert!(check::domain("lab.local").unwrap_err().contains("take lab.test"));
    assert!(check::domain("lab").is_err() && check::domain("lab.test").is_ok());
    assert!(check::name("lab", &seen()).unwrap_err().contains("already"));
    assert!(check::name("Lab", &seen()).is_err() && check::name("lab2", &seen()).is_ok());
}

#[test]
fn what_is_proposed_is_free_and_fits() {
    let (lan, seen) = (lan(), seen());
    assert_eq!(defaults::size(&seen), Preset::Small, "22 GiB are too much for 16");
    let simulated = Seen { fusion: Some(crate::cli::screen::status::tests::fusion(true)), ..seen.clone() };
    assert_eq!(defaults::size(&simulated), Preset::Ha, "what is simulated takes nothing");
    assert_eq!(defaults::vip(&lan, &seen), Some(address("192.168.68.201")));
    let vip = defaults::vip(&lan, &seen);
    let gateways = defaults::gateways(Preset::Ha, &lan, vip, &seen).unwrap();
    assert_eq!(gateways, [address("192.168.68.57"), address("192.168.68.58")]);
    assert_eq!(defaults::internal(&lan, &seen), Some((3, "10.10.2.0/24".parse().unwrap())));
    assert_eq!(defaults::name(&seen), "lab2");
    let small =
        check::lan(&Given { lan: Some("10.0.0.8/29".to_owned()), ..Given::default() }, &seen).unwrap();
    let vip = defaults::vip(&small, &seen);
    assert_eq!(vip, Some(address("10.0.0.14")));
    assert_eq!(defaults::gateways(Preset::Ha, &small, vip, &seen).unwrap()[0], address("10.0.0.10"));
}

#[test]
fn all_wrong_options_are_told_together() {
    let seen = seen();
    let said = |text: &str| Some(text.to_owned());
    let given = Given {
        vip: said("192.168.68.1"),
        gateways: said("192.168.68.57"),
        internal: said("192.168.68.0/24"),
        domain: said("lab.local"),
        name: said("lab"),
        ..Given { preset: Some(Preset::Ha), ..Given::default() }
    };
    let read = |_: &str| Err("k cannot be read".to_owned());
    let refused =
        told::complete(&given, check::lan(&given, &seen), &seen, &read, |path| path.display().to_string());
    let refused = refused.unwrap_err();
    let options: Vec<_> = refused.iter().map(|line| line.split(':').next().unwrap()).collect();
    assert_eq!(options, ["--vip", "--gateways", "--internal", "--ssh-key", "--domain", "--name"]);
}

#[test]
fn the_file_holds_the_answers_and_nothing_is_wrong_with_it() {
    let seen = seen();
    let read = |_: &str| Ok(vec![check::key("~/.ssh/id_ed25519.pub", Some(KEY)).unwrap()]);
    for preset in Preset::ALL {
        let given = Given { preset: Some(preset), interface: Some("en0".to_owned()), ..Given::default() };
        let lan = check::lan(&given, &seen);
        let (answers, assumed) =
            told::complete(&given, lan, &seen, &read, |path| path.display().to_string()).unwrap();
        assert!(assumed.iter().any(|(what, _)| *what == "VIP"), "{assumed:?}");
        let text = write::file(&answers);
        let lab =
            resolve(Some(&text), None, Arch::Arm64).unwrap_or_else(|found| panic!("{found:#?}\n{text}")).lab;
        assert_eq!((lab.name.as_str(), lab.lan.vip), ("lab2", answers.vip));
        assert_eq!((lab.lan.interface.as_deref(), lab.internal.vmnet), (Some("en0"), 3));
        let gateways: Vec<_> = lab.gateways().map(|node| node.lan().unwrap().address).collect();
        assert_eq!(gateways, answers.gateways);
        assert_eq!(lab.authorized_keys, [KEY]);
        let command = write::command(&answers, "--sim", None).join(" ");
        assert!(
            command.starts_with("fusionlab --sim init --preset ") && command.ends_with(" --yes"),
            "{command}"
        );
        assert!(command.contains(" --ssh-key ~/.ssh/id_ed25519.pub "), "{command}");
    }
}
