//! Real networks, real DHCP: what guests plugged into them get and reach. It takes root and `FUSIONLAB_TEST_TOOLS=1`.
#![expect(
    clippy::disallowed_methods,
    reason = "tests ask other programs, and read the files that those write"
)]

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::formats::dhcp::{self, DhcpdConf};
use crate::formats::mac::Mac;
use crate::host::linux::netns;
use crate::sim::faults::{self, Fault};
use crate::sim::network::Network;
use crate::sim::seam::Segment;

/// With this variable set to 1 the programs are asked for, and must be there.
const REQUIRED: &str = "FUSIONLAB_TEST_TOOLS";

/// Sets what udhcpc was given, as its packaged script does.
const SCRIPT: &str = "#!/bin/sh\n[ \"$1\" = bound ] || exit 0\nip address add \"$ip/$mask\" dev \"$interface\"\n\
                      [ -z \"$router\" ] || ip route add default via \"$router\"\necho \"$ip $router $dns\" > \"$ANSWER\"\n";

fn can_run() -> bool {
    // SAFETY: geteuid takes nothing and cannot fail.
    let is_root = unsafe { libc::geteuid() } == 0;
    if std::env::var(REQUIRED).as_deref() != Ok("1") || !is_root {
        eprintln!("skipped: it takes root and {REQUIRED}=1");
        return false;
    }
    for program in ["ip", "nft", "dhcpd", "udhcpc"] {
        tools::program(program).unwrap();
    }
    true
}

fn mac(last: u8) -> Mac {
    Mac::new([0, 0x50, 0x56, 0, 0x0b, last])
}

fn card(last: u8, segment: Segment) -> Card {
    let name = if segment == Segment::Lan { "ens160" } else { "ens192" };
    Card { mac: mac(last), segment, name: name.to_owned() }
}

/// A simulated Mac of its own in a temporary folder.
struct Bench {
    folder: tempfile::TempDir,
    places: Places,
    net: Arc<Net>,
}

impl Bench {
    async fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("fl-net-").tempdir().unwrap();
        let places = Places::new(folder.path());
        let net = Self::begin(&places).await;
        Self { folder, places, net }
    }

    async fn begin(places: &Places) -> Arc<Net> {
        let lan = "192.168.68.0/24".parse().unwrap();
        Net::begin(Prefix::of(places).unwrap(), places, lan).await.unwrap()
    }

    /// Writes the files of network 2 as `vmnet-cli --configure` does, and returns it as it then runs.
    fn vmnet2(&self, reserved: &[(Mac, Ipv4Addr)]) -> Network {
        let subnet = "10.10.0.0/24".parse().unwrap();
        let conf = DhcpdConf { vmnet: 2, subnet, nat: true, reservations: reserved, written_at: 0 };
        let dhcpd_conf = conf.render(None);
        let folder = self.places.vmnet(2);
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("dhcpd.conf"), &dhcpd_conf).unwrap();
        Network { subnet, nat: true, dhcp: true, adapter: true, dhcpd_conf }
    }

    /// Lets a real client ask for an address on a guest's card: returns address, router and name server.
    fn ask(&self, plug: &Plug, interface: &str) -> Option<Vec<Ipv4Addr>> {
        self.ask_as(plug, interface, &[])
    }

    fn ask_as(&self, plug: &Plug, interface: &str, options: &[&str]) -> Option<Vec<Ipv4Addr>> {
        use std::os::unix::fs::PermissionsExt;
        let (script, answer) = (self.folder.path().join("script"), self.folder.path().join("answer"));
        std::fs::write(&script, SCRIPT).unwrap();
        std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
        let _ = std::fs::remove_file(&answer);
        in_namespace(plug, &format!("link set {interface} up"));
        let name = plug.namespace().file_name().unwrap();
        let mut command = Command::new("ip");
        command.args(["netns", "exec"]).arg(name);
        command
            .args(["udhcpc", "-f", "-q", "-n", "-t", "10", "-T", "1", "-i", interface, "-s"])
            .arg(&script)
            .args(options);
        let output = command.env("ANSWER", &answer).output().unwrap();
        let text = std::fs::read_to_string(&answer).unwrap_or_default();
        let words = text.split_whitespace().map(|word| word.parse().unwrap()).collect::<Vec<_>>();
        (output.status.success() && !words.is_empty()).then_some(words)
    }

    fn leases(&self) -> Vec<dhcp::Lease> {
        dhcp::leases(&std::fs::read_to_string(self.places.leases(2)).unwrap())
    }

    async fn end(self) {
        let prefix = Prefix::of(&self.places).unwrap();
        self.net.leave().await;
        assert_eq!(prefix.namespaces(), Vec::<std::path::PathBuf>::new());
    }
}

/// Networks as the world's file has them, of which these run.
fn running(networks: &[(u8, &Network)]) -> Networks {
    let of: serde_json::Map<_, _> = networks
        .iter()
        .map(|(number, network)| (number.to_string(), serde_json::to_value(network).unwrap()))
        .collect();
    let all = serde_json::json!({ "configured": {}, "running": of, "seen": "" });
    serde_json::from_value(all).unwrap()
}

fn in_namespace(plug: &Plug, line: &str) {
    let name = plug.namespace().file_name().unwrap();
    let output = Command::new("ip").arg("-n").arg(name).args(line.split(' ')).output().unwrap();
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Serves one greeting after another in a namespace: tells each client the address that it is seen by.
fn greet(namespace: &Path, port: u16) {
    let listener = netns::inside(namespace, || TcpListener::bind((Ipv4Addr::UNSPECIFIED, port))).unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            use io::Write;
            let mut stream = stream.unwrap();
            let seen = stream.peer_addr().unwrap().ip().to_string();
            stream.write_all(seen.as_bytes()).unwrap();
        }
    });
}

async fn heard(stream: io::Result<TcpStream>) -> String {
    let mut text = String::new();
    stream.unwrap().read_to_string(&mut text).await.unwrap();
    text
}

fn at(address: Ipv4Addr, port: u16) -> SocketAddrV4 {
    SocketAddrV4::new(address, port)
}

fn carrier(plug: &Plug, interface: &str) -> bool {
    let name = plug.namespace().file_name().unwrap();
    let output = Command::new("ip").arg("-n").arg(name).args(["link", "show", interface]).output().unwrap();
    !String::from_utf8_lossy(&output.stdout).contains("NO-CARRIER")
}

fn dhcpds(prefix: &Prefix) -> Vec<String> {
    let output = Command::new("ip").args(["netns", "pids", &prefix.mac()]).output().unwrap();
    String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
}

#[tokio::test]
async fn guests_get_their_addresses_by_mac_and_reach_what_they_may() {
    if !can_run() {
        return;
    }
    let bench = Bench::new().await;
    let fixed = Ipv4Addr::new(10, 10, 0, 131);
    let network = bench.vmnet2(&[(mac(1), fixed)]);
    bench.net.apply(&running(&[(2, &network)])).await.unwrap();
    let inner = bench.net.plug("guest", &[card(1, Segment::Vmnet(2))]).await.unwrap();
    let stranger = bench.net.plug("guest", &[card(2, Segment::Vmnet(2))]).await.unwrap();
    let home = bench.net.plug("guest", &[card(3, Segment::Lan), card(4, Segment::Vmnet(2))]).await.unwrap();

    // Addresses: the reserved one, one of the pool (which the product reads from the leases), one of the router's.
    let nat = Ipv4Addr::new(10, 10, 0, 2);
    assert_eq!(bench.ask(&inner, "ens192"), Some(vec![fixed, nat, nat]));
    // Its identifier holds every character that means something in the leases file's language: `";{}\#`.
    let said = ["-x", "0x3d:ff223b7b7d5c23", "-x", "hostname:web"];
    let lent = bench.ask_as(&stranger, "ens192", &said).unwrap();
    let (first, last) = dhcp::pool(network.subnet);
    assert!((first..=last).contains(&lent[0]) && lent[0] != fixed, "{lent:?}");
    let leases = bench.leases();
    let found = dhcp::newest_valid(&leases, mac(2), crate::host::clock::now()).unwrap();
    assert_eq!((found.address, found.hostname.as_deref()), (lent[0], Some("web")), "{leases:?}");
    assert!(leases.iter().all(|lease| lease.mac == mac(2)), "{leases:?}");
    let router = Ipv4Addr::new(192, 168, 68, 1);
    let on_lan = bench.ask(&home, "ens160").unwrap();
    assert_eq!(on_lan[1..], [router, router]);
    assert_eq!(inner.addresses(), [(Segment::Vmnet(2), fixed)]);
    assert_eq!(home.addresses(), [(Segment::Lan, on_lan[0])]);

    // The Mac reaches both sides; a refusal, an absent host and an unknown network are told apart.
    greet(inner.namespace(), 80);
    greet(home.namespace(), 80);
    assert_eq!(heard(bench.net.dial(at(fixed, 80)).await).await, "10.10.0.1");
    assert_eq!(heard(bench.net.dial(at(on_lan[0], 80)).await).await, "192.168.68.2");
    let refused = |error: io::Result<TcpStream>| error.unwrap_err().kind();
    assert_eq!(refused(bench.net.dial(at(fixed, 81)).await), io::ErrorKind::ConnectionRefused);
    let absent = Ipv4Addr::new(10, 10, 0, 77);
    assert_eq!(refused(bench.net.dial(at(absent, 22)).await), io::ErrorKind::HostUnreachable);
    let nowhere = Ipv4Addr::new(172, 16, 9, 9);
    assert_eq!(refused(bench.net.dial(at(nowhere, 22)).await), io::ErrorKind::HostUnreachable);

    // NAT leads to the LAN under the Mac's address; the LAN finds no way back through the Mac.
    assert_eq!(heard(inner.connect(at(on_lan[0], 80)).await).await, "192.168.68.2");
    in_namespace(&home, "route add 10.10.0.0/24 via 192.168.68.2");
    let back = tokio::time::timeout(std::time::Duration::from_secs(2), home.connect(at(fixed, 80))).await;
    assert!(back.is_err() || back.unwrap().is_err());

    for plug in [&inner, &stranger, &home] {
        plug.unplug().await;
        plug.unplug().await;
        assert_eq!(plug.addresses(), []);
    }
    bench.end().await;
}

#[tokio::test]
async fn a_link_that_is_cut_carries_nothing_and_one_that_is_down_has_no_carrier() {
    if !can_run() {
        return;
    }
    let bench = Bench::new().await;
    let network = bench.vmnet2(&[]);
    bench.net.apply(&running(&[(2, &network)])).await.unwrap();
    let link = |name: &str| {
        let target = Some("guest/ens192".to_owned());
        Links::of_faults(&[Fault { name: name.to_owned(), target, times: None, after: 0 }])
    };
    // It was cut before the machine had power.
    bench.net.link(&link(faults::LINK_SILENT)).await.unwrap();
    let guest = bench.net.plug("guest", &[card(1, Segment::Vmnet(2))]).await.unwrap();
    let other = bench.net.plug("other", &[card(2, Segment::Vmnet(2))]).await.unwrap();
    for (plug, address) in [(&guest, "10.10.0.41"), (&other, "10.10.0.42")] {
        in_namespace(plug, "link set ens192 up");
        in_namespace(plug, &format!("address add {address}/24 dev ens192"));
        greet(plug.namespace(), 80);
    }
    let to = at(Ipv4Addr::new(10, 10, 0, 41), 80);
    let carries = async || {
        let dialled = [bench.net.dial(to).await.is_ok(), other.connect(to).await.is_ok()];
        assert_eq!(dialled[0], dialled[1]);
        dialled[0]
    };
    assert!(!carries().await && carrier(&guest, "ens192"));
    // A card that goes down and up is not mended by that, nor by another network's start.
    in_namespace(&guest, "link set ens192 down");
    in_namespace(&guest, "link set ens192 up");
    bench.net.apply(&running(&[(2, &network)])).await.unwrap();
    assert!(!carries().await);
    bench.net.link(&link(faults::LINK_DOWN)).await.unwrap();
    assert!(!carries().await && !carrier(&guest, "ens192") && carrier(&other, "ens192"));
    bench.net.link(&Links::default()).await.unwrap();
    assert!(carries().await && carrier(&guest, "ens192"));
    for plug in [&guest, &other] {
        plug.unplug().await;
    }
    bench.end().await;
}

#[tokio::test]
async fn the_internet_answers_whoever_asks_by_whatever_way() {
    if !can_run() {
        return;
    }
    let bench = Bench::new().await;
    let network = bench.vmnet2(&[(mac(1), Ipv4Addr::new(10, 10, 0, 131))]);
    bench.net.apply(&running(&[(2, &network)])).await.unwrap();
    let guest = bench.net.plug("guest", &[card(1, Segment::Vmnet(2))]).await.unwrap();
    bench.ask(&guest, "ens192").unwrap();
    let internet = Ipv4Addr::new(198, 18, 0, 1);
    assert_eq!(guest.connect(at(internet, 80)).await.unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
    let Sockets { dns, ntp, http, https } = bench.net.router().unwrap();
    for socket in [&dns, &ntp] {
        socket.set_read_timeout(Some(std::time::Duration::from_secs(5))).unwrap();
    }
    drop(https);

    // The name server that the lease names, and any other; each answers as the one that was asked.
    for (server, socket) in [
        (at(Ipv4Addr::new(10, 10, 0, 2), 53), &dns),
        (at(Ipv4Addr::new(192, 168, 68, 1), 53), &dns),
        (at(Ipv4Addr::new(9, 9, 9, 9), 53), &dns),
        (at(internet, 123), &ntp),
        (at(Ipv4Addr::new(192, 168, 68, 1), 123), &ntp),
    ] {
        let client = netns::inside(guest.namespace(), || UdpSocket::bind("0.0.0.0:0")).unwrap();
        client.set_read_timeout(Some(std::time::Duration::from_secs(5))).unwrap();
        client.connect(server).unwrap();
        client.send(b"who?").unwrap();
        let mut bytes = [0; 16];
        let (count, from) = socket.recv_from(&mut bytes).unwrap_or_else(|error| panic!("{server}: {error}"));
        assert_eq!(&bytes[..count], b"who?");
        assert_eq!(from.ip(), Ipv4Addr::new(192, 168, 68, 2));
        socket.send_to(b"me", from).unwrap();
        let count = client.recv(&mut bytes).unwrap_or_else(|error| panic!("{server}: {error}"));
        assert_eq!(&bytes[..count], b"me");
    }

    let asked = std::thread::spawn(move || http.accept().map(|(stream, _)| stream));
    let mut stream = guest.connect(at(internet, 80)).await.unwrap();
    stream.write_all(b"GET /").await.unwrap();
    assert!(asked.join().unwrap().is_ok());
    guest.unplug().await;
    bench.end().await;
}

#[tokio::test]
async fn a_network_that_stops_takes_the_carrier_and_one_that_changed_starts_its_dhcp_anew() {
    if !can_run() {
        return;
    }
    let bench = Bench::new().await;
    let prefix = Prefix::of(&bench.places).unwrap();
    let network = bench.vmnet2(&[]);
    bench.net.apply(&running(&[(2, &network)])).await.unwrap();
    let guest = bench.net.plug("guest", &[card(1, Segment::Vmnet(2))]).await.unwrap();
    in_namespace(&guest, "link set ens192 up");
    let first = dhcpds(&prefix);
    assert_eq!(first.len(), 1);

    // Nothing changed; then only the file did, which the server read at its start.
    bench.net.apply(&running(&[(2, &network)])).await.unwrap();
    let conf = bench.places.vmnet(2).join("dhcpd.conf");
    std::fs::write(&conf, format!("{}\n# later\n", network.dhcpd_conf)).unwrap();
    bench.net.apply(&running(&[(2, &network)])).await.unwrap();
    assert_eq!(dhcpds(&prefix), first);
    assert!(carrier(&guest, "ens192"));

    // Another network beside it is no reason either.
    let host_only = Network {
        subnet: "10.20.0.0/24".parse().unwrap(),
        nat: false,
        dhcp: false,
        adapter: true,
        dhcpd_conf: String::new(),
    };
    bench.net.apply(&running(&[(2, &network), (3, &host_only)])).await.unwrap();
    assert_eq!(dhcpds(&prefix), first);

    // Fusion's stop and start.
    bench.net.apply(&running(&[])).await.unwrap();
    assert_eq!(dhcpds(&prefix), Vec::<String>::new());
    assert!(!carrier(&guest, "ens192"));
    let changed = bench.vmnet2(&[(mac(1), Ipv4Addr::new(10, 10, 0, 55))]);
    bench.net.apply(&running(&[(2, &changed)])).await.unwrap();
    assert!(carrier(&guest, "ens192"));
    assert_eq!(bench.ask(&guest, "ens192").unwrap()[0], Ipv4Addr::new(10, 10, 0, 55));

    guest.unplug().await;
    bench.end().await;
}

#[tokio::test]
async fn a_server_that_refuses_its_file_says_why_and_one_serves_where_the_mac_is_not() {
    if !can_run() {
        return;
    }
    let bench = Bench::new().await;
    let prefix = Prefix::of(&bench.places).unwrap();
    let fixed = Ipv4Addr::new(10, 10, 0, 55);
    let network = bench.vmnet2(&[(mac(1), fixed)]);
    let broken = network.dhcpd_conf.replace("range 10.10.0.128", "range 10.11.0.128");
    std::fs::write(bench.places.vmnet(2).join("dhcpd.conf"), &broken).unwrap();
    let refused = Network { dhcpd_conf: broken, ..network };
    let error = bench.net.apply(&running(&[(2, &refused)])).await.unwrap_err().to_string();
    assert!(error.contains("vmnet2/dhcpd.conf: ") && error.contains("not in subnet 10.10.0.0"), "{error}");

    // The network is there all the same, and its server comes with the next right file.
    let guest = bench.net.plug("guest", &[card(1, Segment::Vmnet(2))]).await.unwrap();
    in_namespace(&guest, "link set ens192 up");
    assert!(carrier(&guest, "ens192"));
    let network = bench.vmnet2(&[(mac(1), fixed)]);
    bench.net.apply(&running(&[(2, &network)])).await.unwrap();
    assert_eq!(dhcpds(&prefix).len(), 1);

    let without = Network { adapter: false, ..network };
    for nat in [true, false] {
        bench.net.apply(&running(&[(2, &Network { nat, ..without.clone() })])).await.unwrap();
        assert_eq!(dhcpds(&prefix), Vec::<String>::new());
        in_namespace(&guest, "address flush dev ens192");
        assert_eq!(bench.ask(&guest, "ens192").unwrap()[0], fixed);
        let reached = bench.net.dial(at(fixed, 22)).await;
        assert_eq!(reached.unwrap_err().kind(), io::ErrorKind::HostUnreachable);
    }
    guest.unplug().await;
    bench.end().await;
}

/// Why a template's machine id is emptied, and each node's address reserved by its MAC (facts/test-bench.md §4).
#[tokio::test]
async fn clones_with_one_machine_id_are_lent_one_address_and_reset_ones_their_own() {
    if !can_run() {
        return;
    }
    let bench = Bench::new().await;
    let fixed = Ipv4Addr::new(10, 10, 0, 55);
    let network = bench.vmnet2(&[(mac(3), fixed)]);
    bench.net.apply(&running(&[(2, &network)])).await.unwrap();
    // What networkd says: the card's number, which equal slots give equal cards, then the machine id's digest.
    let of_machine = |id: &str| format!("0x3d:ff2b9434c100020000ab11{id}");
    let (template, own) = (of_machine("0102030405060708"), of_machine("1112131415161718"));
    let mut lent = Vec::new();
    for (last, identifier) in [(1, &template), (2, &template), (3, &template), (4, &own)] {
        let plug = bench.net.plug("guest", &[card(last, Segment::Vmnet(2))]).await.unwrap();
        lent.push(bench.ask_as(&plug, "ens192", &["-x", identifier]).unwrap()[0]);
        plug.unplug().await;
    }
    assert_eq!(lent[0], lent[1], "one identifier, one lease, whatever the MAC");
    assert_eq!(lent[2], fixed, "a reservation goes by the MAC");
    assert!(lent[3] != lent[0], "an identifier of its own");
    bench.end().await;
}

#[tokio::test]
async fn two_labs_with_the_same_subnets_do_not_meet_and_what_a_killed_one_left_is_collected() {
    if !can_run() {
        return;
    }
    let (one, other) = (Bench::new().await, Bench::new().await);
    let mut plugs = Vec::new();
    for bench in [&one, &other] {
        let network = bench.vmnet2(&[(mac(1), Ipv4Addr::new(10, 10, 0, 131))]);
        bench.net.apply(&running(&[(2, &network)])).await.unwrap();
        let plug = bench.net.plug("guest", &[card(1, Segment::Vmnet(2))]).await.unwrap();
        assert!(bench.ask(&plug, "ens192").is_some());
        plugs.push(plug);
    }
    greet(plugs[0].namespace(), 80);
    let to = at(Ipv4Addr::new(10, 10, 0, 131), 80);
    assert_eq!(heard(one.net.dial(to).await).await, "10.10.0.1");
    assert_eq!(other.net.dial(to).await.unwrap_err().kind(), io::ErrorKind::ConnectionRefused);

    // A world that is killed: its guest's process, its control group and its servers stay behind.
    let prefix = Prefix::of(&other.places).unwrap();
    let name = plugs[1].namespace().file_name().unwrap().to_owned();
    let mut guest = Command::new("ip");
    let mut guest = guest.args(["netns", "exec"]).arg(name).args(["sleep", "600"]).spawn().unwrap();
    let cgroup = prefix.cgroup().unwrap().join("guest/init.scope");
    std::fs::create_dir_all(&cgroup).unwrap();
    std::fs::write(cgroup.join("cgroup.procs"), guest.id().to_string()).unwrap();
    let served = dhcpds(&prefix);
    assert_eq!(served.len(), 1);
    let grouped = std::fs::read_to_string(prefix.cgroup().unwrap().join("net/cgroup.procs")).unwrap();
    assert!(grouped.lines().any(|pid| pid == served[0]), "{served:?} is not in {grouped}");
    std::fs::create_dir_all(other.places.run()).unwrap();
    crate::sim::install::stop(other.places.root()).await.unwrap();
    assert!(!guest.wait().unwrap().success());
    assert_eq!(prefix.namespaces(), Vec::<std::path::PathBuf>::new());
    assert!(!prefix.cgroup().unwrap().exists());
    collect(&prefix).await.unwrap();

    // The other lab has not noticed; the next world of the killed one begins.
    assert_eq!(heard(one.net.dial(to).await).await, "10.10.0.1");
    let again = Bench::begin(&other.places).await;
    let network = other.vmnet2(&[]);
    again.apply(&running(&[(2, &network)])).await.unwrap();
    again.leave().await;
    plugs[0].unplug().await;
    one.end().await;
    other.end().await;
}

#[tokio::test]
async fn a_machines_tap_devices_are_on_their_bridges_until_they_are_unplugged() {
    if !can_run() || !Path::new("/dev/net/tun").exists() {
        return;
    }
    let bench = Bench::new().await;
    let network = bench.vmnet2(&[]);
    bench.net.apply(&running(&[(2, &network)])).await.unwrap();
    let taps = bench.net.taps("machine", &[card(3, Segment::Lan), card(4, Segment::Vmnet(2))]).await.unwrap();
    assert_eq!(taps.names(), ["g1-ens160", "g1-ens192"]);
    let shown = || {
        let name = taps.namespace().file_name().unwrap();
        let output = Command::new("ip").arg("-n").arg(name).args(["-o", "link"]).output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let links = shown();
    let line = |name: &str| links.lines().find(|line| line.contains(name)).unwrap().to_owned();
    assert!(
        line("g1-ens160").contains("master lan ") && line("g1-ens192").contains("master vmnet2 "),
        "{links}"
    );
    taps.unplug().await;
    assert!(!shown().contains("g1-"));
    bench.end().await;
}
