//! A gateway and a node as machines of QEMU, from fusionlab's own VMX, VMDK and seed: what only hardware can prove.
//!
//! ```text
//! FUSIONLAB_TEST_QEMU=1 cargo test --test main qemu:: -- --nocapture
//! ```
//!
//! It takes root, Linux and ten minutes on two cores without KVM, half of it for the image, which is kept. Every machine is
//! started by the simulated Fusion's vmrun, and asked over its SSH server with its pinned key, as the product does.

use std::fs;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::{Duration, Instant};

use fusionlab::engine::home::store;
use fusionlab::formats::command::Command as GuestCommand;
use fusionlab::formats::networking::{Document, Ours};
use fusionlab::formats::vmx::Vmx;
use fusionlab::host::dial::Dial;
use fusionlab::host::ssh::SshShell;
use fusionlab::host::{GuestShell, GuestTarget};
use fusionlab::lab::catalogue::Arch;
use fusionlab::lab::names::GUEST_USER;
use fusionlab::lab::paths::Home;
use fusionlab::lab::resolve::resolve;
use fusionlab::lab::{Lab, Nic, Node};
use fusionlab::sim::linux::image::{self, GuestImage, Options};
use fusionlab::stack::identity::Identity;
use fusionlab::stack::{cloud_init, network, vm};
use secrecy::ExposeSecret;
use serde_json::Value;
use tempfile::TempDir;

use crate::support::session::Session;

/// Without it the test says that it is skipped.
const SWITCH: &str = "FUSIONLAB_TEST_QEMU";
/// Where the image is kept, if not in cargo's folder for tests.
const IMAGES: &str = "FUSIONLAB_SIM_IMAGES";
/// How long a first boot may take, translated: 110 s of a core (facts/test-bench.md §3), and others work beside. A panic
/// does not wait for this.
const BOOT: Duration = Duration::from_secs(900);
/// How long an image from packages may take.
const IMAGE: Duration = Duration::from_secs(1200);
/// How long one question to a machine may take, whose processor is translated.
const QUESTION: Duration = Duration::from_secs(180);
const CONNECT: Duration = Duration::from_secs(30);
/// How long a machine may take to be gone after it panicked.
const PANIC: Duration = Duration::from_secs(20);
const LOOK: Duration = Duration::from_millis(500);
const DISK: &str = "20G";

#[test]
fn a_gateway_and_a_node_boot_from_our_own_vmx_vmdk_and_seed() {
    if std::env::var_os(SWITCH).is_none() {
        println!("skipped: {SWITCH} is not set: it boots machines of QEMU, which takes minutes");
        return;
    }
    let bench = Bench::new();
    let gateway = bench.lab.gateways().next().expect("a gateway").clone();
    let worker = bench.lab.node("k8s-worker1").expect("a worker").clone();
    // As the product does both: an independent disk, and a linked clone of a template's.
    bench.lay_out(&gateway, None);
    bench.lay_out(&worker, Some(&bench.template()));

    bench.boots(&gateway);
    bench.is_as_its_seed_says(&gateway);
    bench.stands_still_while_paused(&gateway);
    bench.boots(&worker);
    bench.is_as_its_seed_says(&worker);
    bench.reach_each_other(&gateway, &worker);
    bench.a_panic_takes_the_power_at_once(&worker);
    bench.shuts_down_by_its_power_button(&gateway);
}

/// A home with a simulated Fusion whose machines are QEMU's, and the document's lab.
struct Bench {
    session: Session,
    image: GuestImage,
    lab: Lab,
    identity: Identity,
    shell: SshShell,
    runtime: tokio::runtime::Runtime,
    keys: TempDir,
}

impl Bench {
    fn new() -> Self {
        let images = std::env::var_os(IMAGES)
            .map_or_else(|| Path::new(env!("CARGO_TARGET_TMPDIR")).join("sim-images"), PathBuf::from);
        let session = Session::new().env("FUSIONLAB_SIM_GUESTS", "qemu").env(IMAGES, &images).limit(IMAGE);
        let built = session.clone().args(["sim", "image", "build", "--disk"]).run().exits(0);
        println!("image with a disk: {:.1} s", built.took.as_secs_f64());
        session.clone().args(["sim", "start"]).run().exits(0);
        let image = image::find(&images, &Options { disk: true, ..Options::default() });
        let lab = resolve(Some("version: 1\n"), None, Arch::Amd64).expect("the document's lab is right").lab;
        let keys = tempfile::tempdir().expect("a folder");
        let identity = store::existing_or_made_up(&lab, &Home(keys.path().to_owned()).lab(&lab.name));
        let dial = session.simulated_mac().join("var/run/fusionlab-dial");
        let way = move || {
            Ok(Dial::parse(fs::read_to_string(&dial).unwrap_or_default().trim()).unwrap_or(Dial::Direct))
        };
        let bench = Self {
            session,
            image: image.expect("it can be read").expect("it was built"),
            lab,
            identity: identity.expect("keys can be made"),
            shell: SshShell::new(Arc::new(way), CONNECT),
            runtime: tokio::runtime::Runtime::new().expect("a runtime"),
            keys,
        };
        bench.write_key();
        bench.apply_network();
        bench
    }

    fn key(&self) -> PathBuf {
        self.keys.path().join("id_ed25519")
    }

    fn write_key(&self) {
        fs::write(self.key(), self.identity.user.private_pem.expose_secret()).expect("it can be written");
        fs::set_permissions(self.key(), fs::Permissions::from_mode(0o600)).expect("it is ours");
    }

    /// Makes the lab's network by the product's edit and Fusion's own program.
    fn apply_network(&self) {
        let networking = self.session.simulated_mac().join("Library/Preferences/VMware Fusion/networking");
        let document = Document::parse(&fs::read(&networking).expect("it is there")).expect("it is one");
        let wished =
            document.ensure(&network::wish(&self.lab), Ours::default()).expect("nothing is in the way");
        fs::write(&networking, wished.render()).expect("it can be written");
        for order in ["--configure", "--stop", "--start"] {
            self.fusion("vmnet-cli", &[order]);
        }
    }

    fn program(&self, name: &str) -> Command {
        let folder = self.session.simulated_mac().join("Applications/VMware Fusion.app/Contents/Library");
        let mut command = Command::new(folder.join(name));
        command.env("FUSIONLAB_HOME", self.session.fusionlab_home()).current_dir("/");
        command
    }

    #[track_caller]
    fn fusion(&self, name: &str, arguments: &[&str]) -> String {
        let output = self.program(name).args(arguments).output().expect("it runs");
        assert!(output.status.success(), "{name} {arguments:?}: {}", said(&output));
        said(&output)
    }

    #[track_caller]
    fn vmrun(&self, arguments: &[&str]) -> String {
        self.fusion("vmrun", &[&["-T", "fusion"], arguments].concat())
    }

    fn vmx(&self, name: &str) -> PathBuf {
        let folder =
            self.session.simulated_mac().join("Virtual Machines.localized").join(format!("{name}.vmwarevm"));
        folder.join(format!("{name}.vmx"))
    }

    /// Makes the machine that others are linked clones of, and returns its VMX.
    fn template(&self) -> PathBuf {
        let vmx = self.vmx("template");
        self.disk(&vmx);
        let key = vm::template_key(&self.lab);
        fs::write(&vmx, vm::template_vmx(&self.lab, &key).render()).expect("it can be written");
        self.vmrun(&["snapshot", path(&vmx), "base"]);
        vmx
    }

    /// Has our converter make a VM's disk of the image's.
    fn disk(&self, vmx: &Path) {
        let folder = vmx.parent().expect("a VMX lies in a folder");
        fs::create_dir_all(folder).expect("it can be made");
        let from = self.image.disk().expect("it was built with a disk");
        let (from, to) = (path(&from).to_owned(), folder.join("disk.vmdk"));
        let convert = ["image", "convert", &from, path(&to), "--size", DISK];
        let took = self.session.clone().args(convert).run().exits(0).took;
        println!("image convert: {:.1} s", took.as_secs_f64());
    }

    /// Lays a node's machine out as the product does.
    fn lay_out(&self, node: &Node, template: Option<&Path>) {
        let vmx = self.vmx(&node.name);
        let folder = vmx.parent().expect("a VMX lies in a folder").to_owned();
        let base = match template {
            Some(template) => {
                let name = format!("-cloneName={}", node.name);
                self.vmrun(&["clone", path(template), path(&vmx), "linked", "-snapshot=base", &name]);
                Some(Vmx::parse(fs::read(&vmx).expect("vmrun made it")).expect("it is one"))
            }
            None => {
                self.disk(&vmx);
                None
            }
        };
        let config = vm::node_vmx(&self.lab, node, base.as_ref(), "disk.vmdk");
        fs::write(&vmx, config.render()).expect("it can be written");
        let mut order = vec!["image".to_owned(), "seed".to_owned()];
        for (name, content) in cloud_init::seed(&self.lab, node, &self.identity) {
            fs::write(folder.join(&name), content).expect("it can be written");
            order.extend([format!("--{name}"), path(&folder.join(&name)).to_owned()]);
        }
        order.push(path(&folder.join("seed.iso")).to_owned());
        self.session.clone().args(order).run().exits(0);
    }

    /// Starts a machine and waits until its SSH server, which must show the key that its seed gave it, lets us in.
    fn boots(&self, node: &Node) {
        let began = Instant::now();
        self.vmrun(&["start", path(&self.vmx(&node.name)), "nogui"]);
        loop {
            match self.asked(node, &["true"]) {
                Ok(_) => break,
                Err(error) => {
                    let console = || self.console(node);
                    assert!(self.runs(node), "{} lost its power: {error}\n{}", node.name, console());
                    assert!(began.elapsed() < BOOT, "{} is not up: {error}\n{}", node.name, console());
                }
            }
            std::thread::sleep(LOOK);
        }
        println!("{}: SSH after {:.0} s", node.name, began.elapsed().as_secs_f64());
        let status = self.ask(node, &["cloud-init", "status", "--wait", "--format", "json"]);
        println!("{}: cloud-init done after {:.0} s", node.name, began.elapsed().as_secs_f64());
        let status: Value = serde_json::from_str(&status).expect("cloud-init prints JSON");
        assert_eq!(status["status"], "done", "{status:#}");
        assert_eq!(status["extended_status"], "done", "{status:#}");
        assert_eq!(status["errors"], serde_json::json!([]), "{status:#}");
        assert_eq!(status["recoverable_errors"], serde_json::json!({}), "{status:#}");
        let detail = status["detail"].as_str().expect("it says where the seed was");
        assert!(detail.starts_with("DataSourceNoCloud [seed=/dev/sr"), "the seed is the CD's: {detail}");
    }

    fn is_as_its_seed_says(&self, node: &Node) {
        let ask = |words: &[&str]| self.ask(node, words).trim().to_owned();
        assert_eq!(ask(&["hostname"]), node.name);
        let cards: Value =
            serde_json::from_str(&ask(&["ip", "-json", "-4", "address"])).expect("ip prints JSON");
        for nic in &node.nics {
            let name = format!("ens{}", nic.pci_slot);
            assert_eq!(addresses(&cards, &name), [nic.address.to_string()], "{}: {cards:#}", node.name);
            let mac = ask(&["cat", &format!("/sys/class/net/{name}/address")]);
            assert_eq!(mac, nic.mac.to_string());
            let driver = ask(&["readlink", &format!("/sys/class/net/{name}/device/driver")]);
            assert!(driver.ends_with("/vmxnet3"), "{driver}");
        }
        let routes = ask(&["ip", "-4", "route", "show", "default"]);
        let first = node.nics.first().expect("a node has a card");
        assert_eq!(routes.lines().count(), 1, "{routes}");
        assert!(routes.contains(&format!("dev ens{}", first.pci_slot)), "{routes}");
        let uuid = ask(&["sudo", "cat", "/sys/class/dmi/id/product_uuid"]);
        assert_eq!(digits(&uuid), digits(&self.config(node).get("uuid.bios").expect("Fusion gave it one")));
        assert_eq!(ask(&["systemctl", "is-system-running", "--wait"]), "running");
        let size: u64 = ask(&["df", "--output=size", "-BM", "/"])
            .split_whitespace()
            .last()
            .and_then(|size| size.trim_end_matches('M').parse().ok())
            .expect("df prints a size");
        assert!(size > 18 * 1024, "the file system has grown with its disk: {size} MiB");
    }

    /// A paused machine answers nobody; it goes on where it stood.
    fn stands_still_while_paused(&self, node: &Node) {
        let vmx = self.vmx(&node.name);
        let boot = self.ask(node, &["cat", "/proc/sys/kernel/random/boot_id"]);
        self.vmrun(&["pause", path(&vmx)]);
        self.shell.forget(&node.name);
        let silent = self.runtime.block_on(async {
            let limit = Duration::from_secs(5);
            let mut stream = self.dial().connect(SocketAddrV4::new(address(node), 22), limit).await.ok()?;
            // The simulated Fusion may take the connection before it has one itself.
            let mut greeting = [0; 1];
            let read = tokio::time::timeout(limit, tokio::io::AsyncReadExt::read(&mut stream, &mut greeting));
            read.await.ok()?.ok().filter(|read| *read > 0)
        });
        assert_eq!(silent, None, "its SSH server says nothing");
        self.vmrun(&["unpause", path(&vmx)]);
        assert_eq!(self.ask(node, &["cat", "/proc/sys/kernel/random/boot_id"]), boot);
    }

    fn reach_each_other(&self, one: &Node, other: &Node) {
        for (from, to) in [(one, other), (other, one)] {
            self.ask(from, &["ping", "-n", "-q", "-c1", "-W5", &to.internal().address.to_string()]);
        }
    }

    /// A kernel that gives up is told by the console, and waits for no deadline.
    fn a_panic_takes_the_power_at_once(&self, node: &Node) {
        let order = "sleep 1; echo 1 >/proc/sys/kernel/sysrq; echo c >/proc/sysrq-trigger";
        self.ask(node, &["sudo", "systemd-run", "--quiet", "sh", "-c", order]);
        self.shell.forget(&node.name);
        let began = Instant::now();
        while self.runs(node) {
            assert!(began.elapsed() < PANIC, "it still runs:\n{}", self.console(node));
            std::thread::sleep(LOOK);
        }
        let console = self.console(node);
        assert!(
            console.contains("fusionlab: Kernel panic - not syncing: sysrq triggered crash"),
            "{console}"
        );
        println!(
            "{}: its power was gone {:.1} s after the order to panic",
            node.name,
            began.elapsed().as_secs_f64()
        );
    }

    fn shuts_down_by_its_power_button(&self, node: &Node) {
        self.shell.forget(&node.name);
        let began = Instant::now();
        self.vmrun(&["stop", path(&self.vmx(&node.name)), "soft"]);
        println!("{}: off {:.1} s after a soft stop", node.name, began.elapsed().as_secs_f64());
        assert!(!self.runs(node));
        assert!(self.console(node).contains("reboot: Power down"), "{}", self.console(node));
    }

    fn dial(&self) -> Dial {
        let file = self.session.simulated_mac().join("var/run/fusionlab-dial");
        Dial::parse(fs::read_to_string(file).expect("the world writes it").trim()).expect("it is a way")
    }

    fn config(&self, node: &Node) -> Vmx {
        Vmx::parse(fs::read(self.vmx(&node.name)).expect("it is there")).expect("it is one")
    }

    fn runs(&self, node: &Node) -> bool {
        self.vmrun(&["list"]).contains(path(&self.vmx(&node.name).canonicalize().expect("it is there")))
    }

    /// Returns the end of what a machine printed.
    fn console(&self, node: &Node) -> String {
        let log = self.vmx(&node.name).with_file_name("console.log");
        let text = String::from_utf8_lossy(&fs::read(log).unwrap_or_default()).into_owned();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(60)..].join("\n")
    }

    fn asked(&self, node: &Node, words: &[&str]) -> Result<String, String> {
        let target = GuestTarget {
            node: node.name.clone(),
            address: address(node),
            user: GUEST_USER.to_owned(),
            host_key: self.identity.host(&node.name).expect("each node has one").public_line.clone(),
            identity: self.key(),
        };
        let command = GuestCommand::new(words.iter().copied());
        let output = self.runtime.block_on(self.shell.run(&target, &command, QUESTION, None));
        let output = output.map_err(|error| error.to_string())?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        if output.success() {
            return Ok(text);
        }
        Err(format!("{words:?}: {:?}: {text}{}", output.status, String::from_utf8_lossy(&output.stderr)))
    }

    #[track_caller]
    fn ask(&self, node: &Node, words: &[&str]) -> String {
        self.asked(node, words).unwrap_or_else(|error| panic!("{}: {error}", node.name))
    }
}

/// Where the product reaches a node: on the LAN if it is there, else on the internal network.
fn address(node: &Node) -> Ipv4Addr {
    node.lan().map_or_else(|| node.internal().address, |nic: &Nic| nic.address)
}

fn addresses(cards: &Value, name: &str) -> Vec<String> {
    let card = cards.as_array().into_iter().flatten().find(|card| card["ifname"] == name);
    let all = card.and_then(|card| card["addr_info"].as_array()).into_iter().flatten();
    all.filter_map(|address| address["local"].as_str()).map(str::to_owned).collect()
}

fn digits(uuid: &str) -> String {
    uuid.chars().filter(char::is_ascii_hexdigit).collect::<String>().to_lowercase()
}

fn path(path: &Path) -> &str {
    path.to_str().expect("paths of tests are UTF-8")
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}
