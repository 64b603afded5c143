//! The bake's steps on a real Debian root, in processes of their own: run twice, and killed at many points, they come to
//! the same files, and nothing is left that tells one machine from another.
//!
//! The root is built from packages once and kept under `target/`. What would take a network, a kernel or a running systemd
//! is `bake/stub.sh`; dpkg, apt-mark, systemctl, jq, tar and the shell are the real ones.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};

use fusionlab::lab::catalogue::Arch;
use fusionlab::lab::resolve::resolve;
use fusionlab::stack::bake;
use sha2::{Digest, Sha256};
use tempfile::TempDir;

/// What the root is built by; its digest is the name of what is kept.
const RECIPE: [&str; 4] = ["mmdebstrap", "--variant=minbase", "--include=jq,systemd", "trixie"];
const STUB: &str = include_str!("bake/stub.sh");
/// Programs that [`STUB`] stands for.
const STUBBED: [&str; 18] = [
    "apt-cache",
    "apt-get",
    "cloud-init",
    "containerd",
    "crictl",
    "curl",
    "dmesg",
    "gpg",
    "helm",
    "journalctl",
    "keepalived",
    "kubeadm",
    "kubelet",
    "nginx",
    "poweroff",
    "swapoff",
    "sync",
    "vmware-rpctool",
];
/// Stands in every file that only one machine has.
const IDENTITY: &str = "IDENTITY-OF-ONE-MACHINE";
/// Files that a first boot and a bake leave and that would tell clones' common origin.
const TELLING: [&str; 15] = [
    "etc/hostname",
    "etc/iscsi/initiatorname.iscsi",
    "etc/kubernetes/pki/ca.key",
    "etc/machine-id",
    "etc/netplan/50-cloud-init.yaml",
    "etc/netplan/90-default.yaml",
    "etc/nvme/hostnqn",
    "etc/ssh/ssh_host_ed25519_key",
    "var/lib/chrony/chrony.drift",
    "var/lib/cloud/instances/fusionlab-0123/user-data.txt",
    "var/lib/dbus/machine-id",
    "var/lib/dhcp/dhclient.leases",
    "var/lib/kubelet/config.yaml",
    "var/lib/systemd/random-seed",
    "var/log/journal/0123/system.journal",
];
/// At how many of its calls of a stub the bake is killed, evenly from the first to the last but some.
const KILLS: usize = 4;

/// Says whether this test can be made; root's rights are needed for a root of one's own.
fn possible() -> bool {
    if std::env::var_os("FUSIONLAB_TEST_TOOLS").is_none() {
        println!("skipped: FUSIONLAB_TEST_TOOLS is not set");
        return false;
    }
    let root = Command::new("id").arg("-u").output().expect("id runs").stdout == b"0\n";
    if !root {
        println!("skipped: not root");
    }
    root
}

/// Returns the archive of the Debian root, building it if no run has before.
fn archive() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("debian-roots");
    fs::create_dir_all(&folder).expect("target/ takes a folder");
    let name = hex::encode(Sha256::digest(RECIPE.join(" ")));
    let archive = folder.join(format!("{}.tar", &name[..16]));
    let lock = File::create(archive.with_extension("lock")).expect("target/ takes a file");
    lock.lock().expect("it can be locked");
    if !archive.exists() {
        let part = archive.with_extension("part.tar");
        let (program, arguments) = RECIPE.split_first().expect("a program");
        let built =
            Command::new(program).args(arguments).arg(&part).output().expect("mmdebstrap is installed");
        assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
        fs::rename(part, &archive).expect("it can be renamed");
    }
    archive
}

/// A Debian root with the bake's files in it.
struct Root(TempDir);

impl Root {
    fn new() -> Self {
        let root = Self(tempfile::tempdir().expect("a folder"));
        let status = Command::new("tar").arg("-C").arg(root.path("")).arg("-xf").arg(archive()).status();
        assert!(status.expect("tar runs").success());
        let lab = resolve(None, None, Arch::Amd64).expect("the built-in lab is sound").lab;
        for file in bake::files(&lab) {
            root.write(&file.path[1..], &file.content, file.mode);
        }
        root.write("stub/stub.sh", STUB, 0o755);
        fs::create_dir(root.path("stub/bin")).expect("a new folder");
        for program in STUBBED {
            symlink("../stub.sh", root.path(&format!("stub/bin/{program}"))).expect("a new link");
        }
        root.serve(&lab.versions.cilium, &lab.versions.helm, &lab.versions.gateway_api);
        root
    }

    fn path(&self, path: &str) -> PathBuf {
        self.0.path().join(path)
    }

    fn write(&self, path: &str, content: impl AsRef<[u8]>, mode: u32) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().expect("a folder")).expect("the folder can be made");
        // What stands there may be a link out of this root.
        let _ = fs::remove_file(&path);
        fs::write(&path, content).expect("it can be written");
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("it is ours");
    }

    /// Puts what the bake downloads where the stub of curl finds it.
    fn serve(&self, cilium: &str, helm: &str, gateway_api: &str) {
        let arch = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
        let pack = |archive: &str, member: &str, content: &str| {
            self.write(&format!("stub/pack/{member}"), content, 0o755);
            let folder = member.split('/').next().expect("a folder");
            let status = Command::new("tar")
                .args(["-C", "pack", "-czf", &format!("www/{archive}"), folder])
                .current_dir(self.path("stub"))
                .status();
            assert!(status.expect("tar runs").success());
        };
        self.write("stub/www/Release.key", "a key", 0o644);
        let definitions = format!("gateway.networking.k8s.io/bundle-version: v{gateway_api}\n");
        self.write("stub/www/standard-install.yaml", definitions, 0o644);
        pack(&format!("cilium-{cilium}.tgz"), "cilium/Chart.yaml", &format!("version: {cilium}\n"));
        let archive = format!("helm-v{helm}-linux-{arch}.tar.gz");
        pack(&archive, &format!("linux-{arch}/helm"), "#!/bin/sh\nexec /stub/bin/helm \"$@\"\n");
        let bytes = fs::read(self.path("stub/www").join(&archive)).expect("it was packed");
        let sums = format!("{}  {archive}\n", hex::encode(Sha256::digest(bytes)));
        self.write(&format!("stub/www/{archive}.sha256sum"), sums, 0o644);
    }

    /// Leaves what a first boot leaves.
    fn boot(&self) {
        for path in TELLING {
            self.write(path, IDENTITY, 0o600);
        }
    }

    /// Runs the bake; with a number, everything is killed when a stub is called for the n-th time.
    fn bake(&self, kill_at: Option<usize>) -> (ExitStatus, String) {
        self.write("stub/calls", "0", 0o644);
        self.write("stub/kill-at", kill_at.unwrap_or_default().to_string(), 0o644);
        let proc = format!("--mount-proc={}", self.path("proc").display());
        let baked = Command::new("unshare")
            .args(["--mount", "--uts", "--ipc", "--net", "--pid", "--fork", "--kill-child", &proc, "chroot"])
            .arg(self.path(""))
            .args(["env", "-i", "SYSTEMD_OFFLINE=1"])
            .arg("PATH=/stub/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
            .args(["sh", "-c", "/opt/fusionlab/bake/run.sh 2>&1; exit $?"])
            .output()
            .expect("unshare runs");
        (baked.status, String::from_utf8_lossy(&baked.stdout).into_owned())
    }

    fn calls(&self) -> usize {
        fs::read_to_string(self.path("stub/calls")).expect("it was counted").trim().parse().expect("a number")
    }

    /// Returns kind, mode and content of everything but the stubs' and dpkg's copy of its last state, a line each.
    fn tree(&self) -> BTreeSet<String> {
        let all = "find . \\( -path ./stub -o -path ./var/lib/dpkg/status-old \\) -prune -o";
        let (kinds, contents) = ("-printf '%y %m %p %l\\n'", "-type f -print0 | xargs -0 sha256sum");
        let script = format!("set -o pipefail; {all} {kinds} && {all} {contents}");
        let listed = Command::new("bash").args(["-c", &script]).current_dir(self.path("")).output();
        let listed = listed.expect("bash runs");
        assert!(listed.status.success(), "{}", String::from_utf8_lossy(&listed.stderr));
        String::from_utf8_lossy(&listed.stdout).lines().map(str::to_owned).collect()
    }

    /// Returns the files that only one machine has.
    fn telling(&self) -> String {
        let arguments = ["-rl", "--exclude-dir=stub", "--exclude-dir=proc", IDENTITY, "."];
        let found =
            Command::new("grep").args(arguments).current_dir(self.path("")).output().expect("grep runs");
        String::from_utf8_lossy(&found.stdout).into_owned()
    }
}

/// Fails with the lines that only one of them has.
#[track_caller]
fn assert_same(before: &BTreeSet<String>, after: &BTreeSet<String>, when: &str) {
    let differences: Vec<&String> = before.symmetric_difference(after).collect();
    assert!(differences.is_empty(), "{when}: {differences:#?}");
}

#[test]
fn the_steps_run_twice_or_killed_half_way_come_to_the_same_and_tell_of_no_machine() {
    if !possible() {
        return;
    }
    let root = Root::new();
    root.boot();
    let (status, said) = root.bake(None);
    assert!(status.success(), "{said}");
    let last = said.lines().rfind(|line| line.starts_with("fusionlab-bake: "));
    assert!(last.is_some_and(|line| line.starts_with("fusionlab-bake: done {")), "{said}");
    let bake::Outcome::Done(baked) = bake::outcome(&said) else {
        panic!("its word is not understood:\n{said}")
    };
    let lab = resolve(None, None, Arch::Amd64).expect("the built-in lab is sound").lab;
    assert_eq!(baked.differences(&lab), [""; 0]);
    assert_eq!(baked.packages.get("containerd").map(String::as_str), Some("2.2.1-0ubuntu1"), "{baked:?}");
    let told = fs::read_to_string(root.path("stub/told")).expect("the guest variable was set");
    assert_eq!(bake::outcome(&told), bake::Outcome::Done(baked), "the second channel says the same");

    let (first, calls) = (root.tree(), root.calls());
    is_of_no_machine(&root);
    root.boot();
    assert!(root.bake(None).0.success());
    assert_same(&first, &root.tree(), "after a second run");

    for point in (1..=KILLS).map(|number| number * calls / (KILLS + 1)) {
        root.boot();
        let (killed, _) = root.bake(Some(point));
        assert!(!killed.success(), "killed at call {point} of {calls}");
        assert!(root.bake(None).0.success(), "after a kill at call {point}");
        assert_same(&first, &root.tree(), &format!("killed at call {point} of {calls}, then run again"));
        is_of_no_machine(&root);
    }
}

#[track_caller]
fn is_of_no_machine(root: &Root) {
    assert_eq!(root.telling(), "", "files that tell of one machine");
    let id = fs::metadata(root.path("etc/machine-id")).expect("absent counts as a first boot");
    assert_eq!(id.len(), 0);
    let dbus = fs::read_link(root.path("var/lib/dbus/machine-id")).expect("a link to the empty one");
    assert_eq!(dbus, Path::new("/etc/machine-id"));
    assert_eq!(
        fs::read_to_string(root.path("etc/iscsi/initiatorname.iscsi")).expect("it stays"),
        "GenerateName=yes\n"
    );
}
