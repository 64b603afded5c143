//! The dhcpd.conf of the document's lab, shown to real programs: ISC's server takes it, and real clients get their
//! fixed addresses by MAC from it, in network namespaces that are gone afterwards.
//!
//! ```text
//! fl-<pid>-mac: dhcpd ── bridge vmnet2 ─┬─ veth ── fl-<pid>-gateway1:    udhcpc
//!               10.10.0.1               ├─ veth ── fl-<pid>-k8s-master1: udhcpc
//!                                       └─ …       fl-<pid>-stranger:    udhcpc
//! ```

use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use fusionlab::formats::dhcp;
use fusionlab::formats::mac::Mac;
use fusionlab::formats::networking::{Document, Ours};
use fusionlab::lab::Lab;
use fusionlab::lab::catalogue::Arch;
use fusionlab::lab::resolve::resolve;
use fusionlab::stack::network;

use crate::support::session::Session;

/// With this variable set to 1 the programs are asked for, and must be there.
const REQUIRED: &str = "FUSIONLAB_TEST_TOOLS";
/// How long one client, or one small program, may take.
const LIMIT: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(10);
/// One identifier for all our clients, as clones with one machine id have: a DUID of systemd's kind.
const DUID: &str = "ff2b9434c100020000ab110102030405060708";
/// The stranger's own. With ours it would hold a lease of ours, which the server takes back while it is still offered.
const STRANGERS_DUID: &str = "ff2b9434c100020000ab11090a0b0c0d0e0f10";
/// A MAC that nobody has reserved anything for.
const STRANGER: &str = "00:0c:29:4b:1d:2e";

/// Says whether these programs can be asked; prints that the test is skipped if they cannot.
fn can_ask(programs: &[&str]) -> bool {
    // SAFETY: geteuid takes nothing and cannot fail.
    let is_root = unsafe { libc::geteuid() } == 0;
    if std::env::var(REQUIRED).as_deref() != Ok("1") || !is_root {
        eprintln!("skipped: it takes root and {REQUIRED}=1");
        return false;
    }
    for program in programs {
        assert!(path_of(program).is_some(), "{program} is missing, and {REQUIRED}=1 is set");
    }
    true
}

fn path_of(program: &str) -> Option<PathBuf> {
    ["/usr/sbin", "/usr/bin", "/sbin", "/bin"]
        .iter()
        .map(|folder| Path::new(folder).join(program))
        .find(|path| path.exists())
}

/// Returns the document's lab, and a simulated Fusion's dhcpd.conf for its network.
fn documents_dhcpd_conf() -> (Lab, Session, PathBuf) {
    let lab = resolve(None, None, Arch::Arm64).expect("the document's lab is right").lab;
    let session = Session::new().args(["sim", "start"]).run().exits(0).session;
    let mac = session.simulated_mac();
    let networking = mac.join("Library/Preferences/VMware Fusion/networking");
    let document = Document::parse(&fs::read(&networking).expect("it is there")).expect("it is one");
    let wished = document.ensure(&network::wish(&lab), Ours::default()).expect("nothing is in the way");
    fs::write(&networking, wished.render()).expect("it can be written");
    let vmnet_cli = mac.join("Applications/VMware Fusion.app/Contents/Library/vmnet-cli");
    let configured = Command::new(vmnet_cli).arg("--configure").status().expect("vmnet-cli runs");
    assert!(configured.success());
    let conf = mac.join("Library/Preferences/VMware Fusion/vmnet2/dhcpd.conf");
    (lab, session, conf)
}

/// Waits for a program's end; one that takes too long is ended, and fails the test.
fn finish(mut child: Child, what: &str) -> Output {
    let until = Instant::now() + LIMIT;
    while child.try_wait().expect("the child is ours").is_none() {
        if Instant::now() > until {
            child.kill().expect("the child is ours");
            let output = child.wait_with_output().expect("the child is ours");
            panic!("{what} is not done after {LIMIT:?}: {}", said(&output));
        }
        std::thread::sleep(POLL);
    }
    child.wait_with_output().expect("the child is ours")
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn spawn(command: &mut Command) -> Child {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts")
}

fn ip(arguments: &str) -> Output {
    let child = spawn(Command::new("ip").args(arguments.split(' ')));
    finish(child, "ip")
}

#[track_caller]
fn ip_done(arguments: &str) {
    let output = ip(arguments);
    assert!(output.status.success(), "ip {arguments}: {}", said(&output));
}

/// A network namespace; it goes with this value.
struct Namespace(String);

impl Namespace {
    /// None where the kernel allows none, as in a container without privileges.
    fn new(name: &str) -> Option<Self> {
        let name = format!("fl-{}-{name}", std::process::id());
        let output = ip(&format!("netns add {name}"));
        if said(&output).contains("not permitted") {
            eprintln!("skipped: no network namespace may be made here");
            return None;
        }
        assert!(output.status.success(), "{}", said(&output));
        Some(Self(name))
    }

    fn ip(&self, arguments: &str) {
        ip_done(&format!("-n {} {arguments}", self.0));
    }

    fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.0]).arg(program);
        command
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // Who fails already shows a better reason.
        let _ = Command::new("ip").args(["netns", "del", &self.0]).output();
    }
}

/// A program that runs until this value goes.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill().and_then(|()| self.0.wait());
    }
}

/// The server's namespace with its bridge, and one for each client.
struct Wires {
    clients: Vec<(Mac, Namespace)>,
    mac: Namespace,
}

impl Wires {
    fn new(clients: &[(String, Mac)]) -> Option<Self> {
        let mac = Namespace::new("mac")?;
        mac.ip("link add vmnet2 type bridge forward_delay 0");
        mac.ip("addr add 10.10.0.1/24 dev vmnet2");
        mac.ip("link set vmnet2 up");
        let mut wires = Self { clients: Vec::new(), mac };
        for (number, (name, hardware)) in clients.iter().enumerate() {
            let client = Namespace::new(name)?;
            wires.mac.ip(&format!("link add port{number} type veth peer name ens160 netns {}", client.0));
            wires.mac.ip(&format!("link set port{number} master vmnet2 up"));
            client.ip(&format!("link set ens160 address {hardware} up"));
            wires.clients.push((*hardware, client));
        }
        Some(wires)
    }

    /// Lets every client ask for an address at once; returns what each got.
    fn ask(&self, script: &Path, folder: &Path, with_duid: bool) -> Vec<(Mac, Ipv4Addr)> {
        let asked: Vec<_> = self
            .clients
            .iter()
            .map(|(hardware, client)| {
                let answer = folder.join(hardware.to_string());
                let mut command = client.command("udhcpc");
                command.args(["-f", "-q", "-n", "-t", "20", "-T", "1", "-i", "ens160", "-s"]).arg(script);
                if with_duid {
                    let duid = if hardware.to_string() == STRANGER { STRANGERS_DUID } else { DUID };
                    command.args(["-x", &format!("0x3d:{duid}")]);
                }
                (*hardware, answer.clone(), spawn(command.env("ANSWER", answer)))
            })
            .collect();
        asked
            .into_iter()
            .map(|(hardware, answer, child)| {
                let output = finish(child, "udhcpc");
                assert!(output.status.success(), "{hardware}: {}", said(&output));
                let address = fs::read_to_string(&answer).expect("the script wrote it");
                (hardware, address.trim().parse().expect("an address"))
            })
            .collect()
    }
}

/// A folder with the server's own files. The server is a copy: where AppArmor confines the original, it may not read
/// anybody's configuration but its own.
struct Files(tempfile::TempDir);

impl Files {
    fn new(conf: &Path) -> Self {
        let files =
            Self(tempfile::Builder::new().prefix("fl-").tempdir_in("/tmp").expect("/tmp takes a folder"));
        fs::copy(path_of("dhcpd").expect("it was looked for"), files.path("dhcpd"))
            .expect("it can be copied");
        fs::copy(conf, files.path("dhcpd.conf")).expect("it can be copied");
        fs::write(files.path("leases"), "").expect("it can be written");
        files
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Writes what udhcpc calls with each event: an address that was given is written down, and not set.
    fn script(&self) -> PathBuf {
        use std::os::unix::fs::PermissionsExt;
        let path = self.path("script");
        fs::write(&path, "#!/bin/sh\nif [ \"$1\" = bound ]; then echo \"$ip\" > \"$ANSWER\"; fi\n")
            .expect("it can be written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("it is ours");
        path
    }

    /// Starts the server on the bridge. Clients ask until it answers.
    fn serve(&self, on: &Namespace) -> Server {
        let log = fs::File::create(self.path("log")).expect("it can be written");
        let mut command = on.command(self.path("dhcpd"));
        command.args(["-4", "-f", "-d", "-cf"]).arg(self.path("dhcpd.conf"));
        command.arg("-lf").arg(self.path("leases")).arg("-pf").arg(self.path("pid")).arg("vmnet2");
        Server(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().expect("dhcpd starts"))
    }
}

#[test]
fn iscs_server_accepts_the_documents_dhcpd_conf_and_no_broken_one() {
    if !can_ask(&["dhcpd"]) {
        return;
    }
    let (_, _session, conf) = documents_dhcpd_conf();
    let files = Files::new(&conf);
    let check = || {
        let mut command = Command::new(files.path("dhcpd"));
        command.args(["-4", "-t", "-cf"]).arg(files.path("dhcpd.conf")).arg("-lf").arg(files.path("leases"));
        finish(spawn(&mut command), "dhcpd -t")
    };
    let accepted = check();
    assert!(accepted.status.success(), "{}", said(&accepted));
    // What the simulated service does not start with is what the real one does not either.
    let text = fs::read_to_string(&conf).expect("it is text");
    for (good, bad) in [("range 10.10.0.128", "range 10.11.0.128"), ("host vmnet2-1 ", "host vmnet2-0 ")] {
        assert!(text.contains(good), "{text}");
        fs::write(files.path("dhcpd.conf"), text.replace(good, bad)).expect("it can be written");
        let refused = check();
        assert!(!refused.status.success(), "{bad}: {}", said(&refused));
    }
}

#[test]
fn real_clients_get_their_fixed_addresses_by_mac_whatever_they_call_themselves() {
    if !can_ask(&["dhcpd", "ip", "udhcpc"]) {
        return;
    }
    let (lab, _session, conf) = documents_dhcpd_conf();
    let reserved = network::wish(&lab).reservations;
    assert_eq!(reserved.len(), 7);
    let mut clients: Vec<_> =
        reserved.iter().enumerate().map(|(number, (mac, _))| (format!("vm{number}"), *mac)).collect();
    clients.push(("stranger".to_owned(), STRANGER.parse().expect("a MAC")));
    let Some(wires) = Wires::new(&clients) else { return };
    let files = Files::new(&conf);
    let mut server = files.serve(&wires.mac);
    let script = files.script();
    let folder = files.path("answers");
    fs::create_dir(&folder).expect("the folder takes another");
    let log = || fs::read_to_string(files.path("log")).unwrap_or_default();

    for with_duid in [false, true] {
        let mut got = wires.ask(&script, &folder, with_duid);
        assert!(server.0.try_wait().expect("the child is ours").is_none(), "{}", log());
        let (_, stranger) = got.pop().expect("the stranger asked last");
        assert_eq!(got, reserved, "with a DUID: {with_duid}: {}", log());
        let (first, last) = dhcp::pool(lab.internal.subnet);
        assert!((first..=last).contains(&stranger), "{stranger}: {}", log());
    }
    let leases = dhcp::leases(&fs::read_to_string(files.path("leases")).expect("the server's leases"));
    assert!(!leases.is_empty() && leases.iter().all(|lease| lease.mac.to_string() == STRANGER), "{leases:?}");
}
