//! Every seed, given to the programs that will read it: CD readers, cloud-init's schema, netplan.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use fusionlab::engine::home::store;
use fusionlab::formats::seed_iso;
use fusionlab::lab::catalogue::Arch;
use fusionlab::lab::paths::Home;
use fusionlab::lab::resolve::resolve;
use fusionlab::lab::{Lab, Network, Nic, Node, Role};
use fusionlab::stack::cloud_init;
use tempfile::TempDir;

type Seed = BTreeMap<String, Vec<u8>>;

/// Says whether a program is there; with FUSIONLAB_TEST_TOOLS set, one that is missing fails the test.
fn present(program: &str) -> bool {
    if Command::new(program).arg("--version").output().is_ok() {
        return true;
    }
    assert!(std::env::var_os("FUSIONLAB_TEST_TOOLS").is_none(), "{program} is missing");
    println!("skipped: {program} is not installed");
    false
}

fn lab(text: &str) -> Lab {
    resolve(Some(text), None, Arch::Arm64).expect("the lab file is valid").lab
}

/// A worker with a card on the LAN besides its own.
fn with_a_second_card(mut lab: Lab) -> Lab {
    let lan = lab.gateways().next().and_then(Node::lan).expect("a gateway is on the LAN").clone();
    let worker = lab.nodes.iter_mut().find(|node| node.role == Role::Worker).expect("a worker");
    let mac = "00:50:56:25:31:01".parse().expect("a MAC");
    worker.nics.push(Nic { network: Network::Lan, mac, pci_slot: 192, ..lan });
    lab
}

/// Returns seeds as they are made, by a name for each: of each role, by lease and by writing, with one card and with two,
/// and the template's.
fn seeds() -> BTreeMap<String, Seed> {
    let by_lease = lab("version: 1\n");
    let by_writing = lab("version: 1\naddressing: static\n");
    let mut awkward = lab("version: 1\npreset: solo\nname: null-1\n");
    awkward.authorized_keys.push("ssh-ed25519 AAAA a: 'b' # \"c\" {{ d }}".to_owned());
    let labs = [
        ("lease", by_lease.clone()),
        ("written", by_writing.clone()),
        ("lease, two cards", with_a_second_card(by_lease.clone())),
        ("written, two cards", with_a_second_card(by_writing)),
        ("awkward", awkward),
    ];
    let folder = tempfile::tempdir().expect("a folder");
    let mut seeds = BTreeMap::new();
    for (kind, lab) in labs {
        let dir = Home(folder.path().to_owned()).lab(&lab.name);
        let identity = store::existing_or_made_up(&lab, &dir).expect("keys can be made");
        for node in lab.nodes.iter().filter(|node| node.number == 1) {
            seeds.insert(format!("{}, {kind}", node.name), cloud_init::seed(&lab, node, &identity));
        }
    }
    seeds.insert("template".to_owned(), cloud_init::bake_seed(&by_lease, "0123456789abcdef"));
    seeds
}

fn ran(name: &str, command: &mut Command) -> Output {
    let output = command.output().expect("the program runs");
    let said =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name}: {command:?}\n{said}");
    output
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Writes a seed's image into a folder.
fn image(folder: &TempDir, seed: &Seed) -> std::path::PathBuf {
    let path = folder.path().join("seed.iso");
    fs::write(&path, seed_iso::write("cidata", seed)).expect("it can be written");
    path
}

#[test]
fn blkid_finds_the_label_that_cloud_init_looks_for() {
    if !present("blkid") {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    for (name, seed) in seeds() {
        let path = image(&folder, &seed);
        let found = text(&ran(&name, Command::new("blkid").args(["-p", "-o", "export"]).arg(&path)));
        for line in ["LABEL=cidata", "TYPE=iso9660"] {
            assert!(found.lines().any(|one| one == line), "{name}: no {line} in\n{found}");
        }
    }
}

#[test]
fn isoinfo_reads_each_file_by_each_kind_of_name() {
    if !present("isoinfo") {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    for (name, seed) in seeds() {
        let path = image(&folder, &seed);
        let isoinfo =
            |arguments: &[&str]| ran(&name, Command::new("isoinfo").arg("-i").arg(&path).args(arguments));
        let about = text(&isoinfo(&["-d"]));
        assert!(
            about.contains("Volume id: cidata\n") && about.contains("Joliet with UCS level 3"),
            "{about}"
        );
        for (file, content) in &seed {
            assert_eq!(isoinfo(&["-J", "-x", &format!("/{file}")]).stdout, *content, "{name}: {file}");
            assert_eq!(isoinfo(&["-R", "-x", &format!("/{file}")]).stdout, *content, "{name}: {file}");
            let plain = format!("/{}.;1", file.to_uppercase());
            assert_eq!(isoinfo(&["-x", &plain]).stdout, *content, "{name}: {plain}");
        }
    }
}

#[test]
fn xorriso_takes_out_what_was_put_in() {
    if !present("xorriso") {
        return;
    }
    for (name, seed) in seeds() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = image(&folder, &seed);
        let out = folder.path().join("out");
        let mut xorriso = Command::new("xorriso");
        xorriso.arg("-abort_on").arg("WARNING").arg("-indev").arg(&path);
        ran(&name, xorriso.args(["-osirrox", "on", "-extract", "/"]).arg(&out));
        let names: Vec<String> = fs::read_dir(&out)
            .expect("it was made")
            .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
            .collect();
        assert_eq!(names.len(), seed.len(), "{name}: {names:?}");
        for (file, content) in &seed {
            assert_eq!(fs::read(out.join(file)).expect("it was extracted"), *content, "{name}: {file}");
        }
    }
}

#[test]
fn cloud_init_accepts_every_user_data() {
    if !present("cloud-init") {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("user-data");
    // Only cards differ in the others.
    let seeds = seeds().into_iter().filter(|(name, _)| !name.contains("written") && !name.contains("cards"));
    for (name, seed) in seeds {
        fs::write(&path, &seed["user-data"]).expect("it can be written");
        let said = text(&ran(&name, Command::new("cloud-init").args(["schema", "-c"]).arg(&path)));
        assert!(said.contains("Valid") && !said.to_lowercase().contains("deprecat"), "{name}: {said}");
    }
    // It does refuse what is wrong: an accepted file means something.
    fs::write(&path, "#cloud-config\nusers: []\n").expect("it can be written");
    let refused = Command::new("cloud-init").args(["schema", "-c"]).arg(&path).output().expect("it runs");
    assert!(!refused.status.success());
}

/// Has netplan make networkd's files from a network-config, and returns them all.
fn generated(name: &str, seed: &Seed) -> String {
    let root = tempfile::tempdir().expect("a folder");
    let file = root.path().join("etc/netplan/50-cloud-init.yaml");
    fs::create_dir_all(file.parent().expect("a folder")).expect("it can be made");
    let config = String::from_utf8(seed["network-config"].clone()).expect("it is text");
    // As cloud-init writes it: below one key.
    let lines: String = config.lines().map(|line| format!("  {line}\n")).collect();
    fs::write(&file, format!("network:\n{lines}")).expect("it can be written");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).expect("it is ours");
    let output = ran(name, Command::new("netplan").args(["generate", "--root-dir"]).arg(root.path()));
    assert!(output.stderr.is_empty(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    let mut files: Vec<_> = fs::read_dir(root.path().join("run/systemd/network"))
        .expect("netplan made files")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    files.sort();
    let read = |path: &Path| fs::read_to_string(path).expect("it can be read");
    files.iter().map(|path| read(path)).collect()
}

#[test]
fn netplan_makes_of_every_network_config_what_was_meant() {
    if !present("netplan") {
        return;
    }
    let all: BTreeMap<String, String> =
        seeds().into_iter().map(|(name, seed)| (name.clone(), generated(&name, &seed))).collect();
    let has = |name: &str, lines: &[&str]| {
        let text = all.get(name).unwrap_or_else(|| panic!("there is no {name}"));
        for line in lines {
            assert!(text.lines().any(|one| one == *line), "{name}: no {line} in\n{text}");
        }
    };
    let gateway = [
        "Address=192.168.68.56/24",
        "Gateway=192.168.68.1",
        "Address=10.10.0.11/24",
        "LinkLocalAddressing=ipv6",
    ];
    has("gateway1, lease", &gateway);
    has("gateway1, written", &gateway);
    has("k8s-master1, lease", &["DHCP=ipv4", "ClientIdentifier=mac"]);
    has("k8s-worker1, written", &["Address=10.10.0.141/24", "Gateway=10.10.0.2", "DNS=10.10.0.2"]);
    has("template", &["Name=e*", "DHCP=ipv4", "ClientIdentifier=mac"]);
    for (name, text) in &all {
        let count = |line: &str| text.lines().filter(|one| one.starts_with(line)).count();
        assert!(count("Gateway=") <= 1, "{name}: two ways out\n{text}");
        assert_eq!(
            count("IPv6AcceptRA=no"),
            if name == "template" { 0 } else { count("[Network]") },
            "{name}:\n{text}"
        );
    }
    // The second card of a node has an address and nothing else: no way out, no name server, and no boot waits for it.
    let second = "k8s-worker1, lease, two cards";
    has(second, &["DHCP=ipv4", "Address=192.168.68.56/24", "RequiredForOnline=no"]);
    for (line, times) in [("[Match]", 2), ("DHCP=", 1), ("Gateway=", 0), ("DNS=", 0)] {
        assert_eq!(all[second].matches(line).count(), times, "{line} in {}", all[second]);
    }
    has("k8s-worker1, written, two cards", &["RequiredForOnline=no"]);
}
