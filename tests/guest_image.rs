//! The guest image and the simulated internet: the bake's own steps run in one against the other, with the apt, curl, gpg,
//! dpkg and jq that are in it. Only Kubernetes' programs are stubs, and what would act on a kernel.

use std::fs;
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use fusionlab::host::linux::netns;
use fusionlab::lab::catalogue::Arch;
use fusionlab::lab::resolve::resolve;
use fusionlab::sim::linux::image::{self, GuestImage, Options, Suite};
use fusionlab::sim::linux::internet;
use fusionlab::sim::linux::net::Sockets;
use fusionlab::stack::bake;
use tempfile::TempDir;

use crate::support::session::Session;

/// Set by `.ci/run`, with the rest of what takes real systems.
const SWITCH: &str = "FUSIONLAB_TEST_GUESTS";
const IMAGES: &str = "FUSIONLAB_SIM_IMAGES";
/// Names another Debian release than the one that `up` takes.
const SUITE: &str = "FUSIONLAB_TEST_SUITE";
const INTERNET: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 1);
const ENTER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/guest_image/enter.sh");
const STUB: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/guest_image/stub.sh");

/// A network namespace with nothing in it but the internet's address.
struct Namespace(String);

impl Namespace {
    fn new() -> Self {
        let name = format!("fl-image-{}", std::process::id());
        run(Command::new("ip").args(["netns", "add", &name]));
        let namespace = Self(name);
        namespace.ip(&["address", "add", "198.18.0.1/32", "dev", "lo"]);
        namespace.ip(&["link", "set", "lo", "up"]);
        namespace.ip(&["route", "add", "default", "dev", "lo"]);
        namespace
    }

    fn ip(&self, arguments: &[&str]) {
        run(Command::new("ip").args(["-n", &self.0]).args(arguments));
    }

    fn sockets(&self) -> Sockets {
        let at = |port| SocketAddrV4::new(INTERNET, port);
        let open = || {
            Ok(Sockets {
                dns: UdpSocket::bind(at(53))?,
                ntp: UdpSocket::bind(at(123))?,
                http: TcpListener::bind(at(80))?,
                https: TcpListener::bind(at(443))?,
            })
        };
        netns::inside(&Path::new("/run/netns").join(&self.0), open).expect("its ports are free")
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "delete", &self.0]).status();
    }
}

/// The image, a layer over it, and a network.
struct Bench {
    image: GuestImage,
    layer: TempDir,
    namespace: Namespace,
}

impl Bench {
    /// Runs a command in the image.
    fn inside(&self, command: &[&str]) -> Output {
        Command::new("ip")
            .args(["netns", "exec", &self.namespace.0, "unshare"])
            .args(["--mount", "--uts", "--ipc", "--pid", "--fork", "--kill-child", ENTER])
            .args([&self.image.rootfs(), self.layer.path(), Path::new(STUB)])
            .args(command)
            .output()
            .expect("ip runs")
    }

    /// Runs a shell script in the image, and returns what it prints.
    fn says(&self, script: &str) -> String {
        let output = self.inside(&["sh", "-c", script]);
        let told = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{script}\n{told}\n{}", String::from_utf8_lossy(&output.stderr));
        told
    }

    fn write(&self, path: &str, content: &[u8], mode: u32) {
        let path = self.layer.path().join("upper").join(path.trim_start_matches('/'));
        fs::create_dir_all(path.parent().expect("a folder")).expect("the layer is ours");
        fs::write(&path, content).expect("it can be written");
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("it is ours");
    }
}

fn run(command: &mut Command) {
    let output = command.output().expect("it is installed");
    assert!(output.status.success(), "{command:?}\n{}", String::from_utf8_lossy(&output.stderr));
}

fn images() -> PathBuf {
    std::env::var_os(IMAGES)
        .map_or_else(|| Path::new(env!("CARGO_TARGET_TMPDIR")).join("sim-images"), PathBuf::from)
}

#[test]
fn where_there_is_no_image_the_list_says_so() {
    let session = Session::new().env(IMAGES, "");
    let listed = session.clone().args(["sim", "image", "list"]).run().exits(0);
    assert_eq!(listed.stdout, "there is no guest image; up builds one when it needs it\n");
    let refused = session.clone().args(["sim", "image", "build", "--suite", "noble"]).run().exits(2);
    assert!(refused.stderr.contains("bookworm or trixie"), "{}", refused.stderr);
}

#[test]
fn a_bake_finds_all_that_it_asks_for() {
    if std::env::var_os(SWITCH).is_none() {
        println!("skipped: {SWITCH} is not set");
        return;
    }
    let runtime = tokio::runtime::Runtime::new().expect("threads");
    let suite = std::env::var(SUITE).map_or_else(|_| Suite::default(), |name| name.parse().expect("a suite"));
    let options = Options { suite, ..Options::default() };
    let built = runtime.block_on(image::build(&images(), &options, &|_| {}));
    let bench = Bench {
        image: built.expect("an image can be built here"),
        layer: tempfile::tempdir().expect("a folder"),
        namespace: Namespace::new(),
    };
    runtime.spawn(internet::serve(bench.image.clone(), bench.namespace.sockets()));
    names_and_time(&bench);
    let lab = resolve(None, None, Arch::Amd64).expect("the built-in lab is sound").lab;
    for file in bake::files(&lab) {
        bench.write(&file.path, &file.content, file.mode);
    }
    for round in ["first", "second"] {
        let baked = bench.inside(&["sh", "-c", "/opt/fusionlab/bake/run.sh 2>&1"]);
        let told = String::from_utf8_lossy(&baked.stdout);
        let bake::Outcome::Done(outcome) = bake::outcome(&told) else { panic!("{round}:\n{told}") };
        assert_eq!(outcome.differences(&lab), Vec::<String>::new(), "{round}:\n{told}");
        assert!(!told.contains("\nW: ") && !told.contains("\nE: "), "{round}: apt complains\n{told}");
        assert_eq!(outcome.packages.get("containerd.io").map(String::as_str), Some("2.2.1-1"), "{round}");
    }
    what_is_installed_is_in_its_place(&bench);
}

fn names_and_time(bench: &Bench) {
    assert!(bench.says("getent ahostsv4 pkgs.k8s.io").starts_with("198.18.0.1 "));
    bench.says("! getent hosts k8s-master1");
    bench.says("! curl -fsS https://pkgs.k8s.io/nothing");
    let told = bench.says("chronyd -Q -t 5 'server 198.18.0.1 iburst maxsamples 1' 2>&1");
    assert!(told.contains("System clock wrong by"), "{told}");
}

fn what_is_installed_is_in_its_place(bench: &Bench) {
    assert_eq!(bench.says("readlink /usr/bin/kubeadm"), "/usr/lib/fusionlab-sim/fusionlab\n");
    assert!(bench.says("apt-mark showhold").contains("kubelet"));
    // Nothing of dpkg's is half done, and every file of a stand-in's package is as it was made.
    assert_eq!(bench.says("dpkg --audit; dpkg --verify kubeadm kubelet kubectl containerd.io"), "");
    let enabled = bench.says("systemctl is-enabled containerd kubelet chrony open-vm-tools");
    assert_eq!(enabled, "enabled\n".repeat(4));
    bench.says("! systemctl is-enabled nginx keepalived");
    assert_eq!(
        bench.says("cat /etc/machine-id; ls /etc/hostname /etc/ssh/ssh_host_* 2>/dev/null || true"),
        ""
    );
}
