//! What a machine is now, as far as the model looks: read off its files and its kernel's.
#![expect(
    clippy::disallowed_methods,
    reason = "a stand-in is a program of the guest's: it reads that machine's files"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::Ipv4Addr;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::sync::Arc;

use super::act::under;
use crate::sim::agent::packages::CONTAINERD_IO;
use crate::sim::agent::protocol::{FILES, Interface, Observation, Seen, TREES, digest};
use crate::sim::guest::state::File;

/// A file longer than this is none that the model reads.
const LONGEST: u64 = 16 * 1024 * 1024;
/// Packages that the model asks for.
const PACKAGES: &[&str] =
    &["conntrack", "containerd", "cri-tools", "kubeadm", "kubectl", "kubelet", "kubernetes-cni"];
/// Those that stand for a release of Kubernetes, whose versions have a `v`.
const RELEASES: &[&str] = &["kubeadm", "kubectl", "kubelet"];
/// Helm's program, whose first line says its version.
const HELM: &str = "/usr/local/bin/helm";
const SYSCTLS: &[&str] = &["net.ipv4.ip_forward"];
/// TCP's state LISTEN, as the kernel prints it.
const LISTENING: &str = "0A";

/// Looks at a machine; what this user cannot read is not there.
pub fn observe(root: &Path, all: bool, named: &[String], known: &BTreeMap<String, String>) -> Observation {
    let mut paths: BTreeSet<String> = named.iter().cloned().collect();
    if all {
        paths.extend(FILES.iter().map(|path| (*path).to_owned()));
        TREES.iter().for_each(|tree| walk(root, tree, &mut paths));
    }
    let seen = |path: String| {
        let file = file(root, &path)?;
        let same = known.get(&path).is_some_and(|known| *known == digest(&file));
        Some((path, if same { Seen::Same } else { Seen::File(file) }))
    };
    let files = paths.into_iter().filter_map(seen).collect();
    if !all {
        return Observation { files, ..Observation::default() };
    }
    let sysctl = |name: &&str| {
        let path = format!("/proc/sys/{}", name.replace('.', "/"));
        Some(((*name).to_owned(), text(root, &path)?.trim().to_owned()))
    };
    Observation {
        hostname: text(root, "/proc/sys/kernel/hostname").unwrap_or_default().trim().to_owned(),
        boot_id: text(root, "/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned(),
        files,
        packages: packages(root),
        interfaces: interfaces(
            &text(root, "/proc/net/fib_trie").unwrap_or_default(),
            &text(root, "/proc/net/route").unwrap_or_default(),
        ),
        listening: ["/proc/net/tcp", "/proc/net/tcp6"]
            .iter()
            .flat_map(|path| listening(&text(root, path).unwrap_or_default()))
            .collect(),
        sysctl: SYSCTLS.iter().filter_map(sysctl).collect(),
        modules: modules(root),
    }
}

/// Returns the version of a program's package, as the model writes it.
pub fn version(root: &Path, program: &str) -> Option<String> {
    let package = if program == "crictl" { "cri-tools" } else { program };
    packages(root).remove(package)
}

fn text(root: &Path, path: &str) -> Option<String> {
    fs::read_to_string(under(root, path)).ok()
}

fn file(root: &Path, path: &str) -> Option<File> {
    let place = under(root, path);
    let found = fs::metadata(&place).ok().filter(|found| found.is_file() && found.len() <= LONGEST)?;
    let owner = if found.uid() == 0 { "root".to_owned() } else { found.uid().to_string() };
    let content = Arc::new(fs::read(&place).ok()?);
    Some(File { mode: found.permissions().mode() & 0o7777, owner, content })
}

fn walk(root: &Path, folder: &str, paths: &mut BTreeSet<String>) {
    let Ok(entries) = fs::read_dir(under(root, folder)) else { return };
    for entry in entries.flatten() {
        let path = format!("{folder}/{}", entry.file_name().to_string_lossy());
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => walk(root, &path, paths),
            // A file that is being written has a name of its own until it is whole.
            Ok(_) if !path.ends_with(".fusionlab-sim") => drop(paths.insert(path)),
            _ => {}
        }
    }
}

fn packages(root: &Path) -> BTreeMap<String, String> {
    let status = text(root, "/var/lib/dpkg/status").unwrap_or_default();
    let mut found = BTreeMap::new();
    for paragraph in status.split("\n\n") {
        let field = |name: &str| {
            paragraph.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": ")).map(str::trim)
        };
        let (Some(name), Some(state), Some(version)) = (field("Package"), field("Status"), field("Version"))
        else {
            continue;
        };
        // Two packages are containerd's; one at most is installed.
        let name = if name == CONTAINERD_IO { "containerd" } else { name };
        if PACKAGES.contains(&name) && state.ends_with(" installed") {
            found.insert(name.to_owned(), upstream(name, version));
        }
    }
    let helm =
        text(root, HELM).and_then(|text| Some(text.lines().next()?.split_once("@helm ")?.1.to_owned()));
    found.extend(helm.map(|version| ("helm".to_owned(), version)));
    found
}

/// Returns the program's version of a package's: without epoch, Debian's revision, and what a repacked source adds.
fn upstream(package: &str, version: &str) -> String {
    let version = version.split_once(':').map_or(version, |(_, rest)| rest);
    let version = version.rsplit_once('-').map_or(version, |(upstream, _)| upstream);
    let version = version.split(['~', '+']).next().unwrap_or(version);
    if RELEASES.contains(&package) { format!("v{version}") } else { version.to_owned() }
}

/// Returns the modules that are loaded or wanted. In a namespace guest the kernel is the host's and loads nothing for
/// it, so what the machine is configured to load counts as loaded.
fn modules(root: &Path) -> BTreeSet<String> {
    let loaded = text(root, "/proc/modules").unwrap_or_default();
    let loaded = loaded.lines().filter_map(|line| line.split_whitespace().next()).map(str::to_owned);
    let mut all: BTreeSet<String> = loaded.collect();
    let mut files = BTreeSet::new();
    walk(root, "/etc/modules-load.d", &mut files);
    for path in files {
        let wanted = text(root, &path).unwrap_or_default();
        let lines =
            wanted.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with(['#', ';']));
        all.extend(lines.map(str::to_owned));
    }
    all
}

/// Reads the kernel's local addresses and routes: each address belongs to the interface whose own network holds it.
fn interfaces(trie: &str, routes: &str) -> Vec<Interface> {
    let mut all: Vec<(Interface, Ipv4Addr, u8)> = Vec::new();
    let mut gateways: Vec<(String, Ipv4Addr)> = Vec::new();
    for line in routes.lines().skip(1) {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [name, destination, gateway, .., mask, _, _, _] = fields[..] else { continue };
        let number =
            |hex: &str| u32::from_str_radix(hex, 16).map(|number| Ipv4Addr::from(number.swap_bytes()));
        let (Ok(destination), Ok(gateway), Ok(mask)) = (number(destination), number(gateway), number(mask))
        else {
            continue;
        };
        let prefix = u8::try_from(u32::from(mask).count_ones()).unwrap_or_default();
        if prefix == 0 && !gateway.is_unspecified() {
            gateways.push((name.to_owned(), gateway));
        } else if prefix != 0 && gateway.is_unspecified() {
            let interface = Interface { name: name.to_owned(), ..Interface::default() };
            all.push((interface, destination, prefix));
        }
    }
    for address in local_addresses(trie) {
        let holds = |network: Ipv4Addr, prefix: u8| {
            ipnet::Ipv4Net::new(network, prefix).is_ok_and(|network| network.contains(&address))
        };
        let best =
            all.iter_mut().filter(|(_, network, prefix)| holds(*network, *prefix)).max_by_key(|one| one.2);
        if let Some((interface, _, prefix)) = best {
            interface.addresses.push((address, *prefix));
        }
    }
    let mut found: Vec<Interface> = Vec::new();
    for (interface, ..) in all {
        match found.iter_mut().find(|other| other.name == interface.name) {
            Some(other) => other.addresses.extend(interface.addresses),
            None => found.push(interface),
        }
    }
    for interface in &mut found {
        interface.router =
            gateways.iter().find(|(name, _)| *name == interface.name).map(|(_, gateway)| *gateway);
    }
    found
}

/// Returns the addresses that the kernel's trie of routes calls its own, in their order, without loopback.
fn local_addresses(trie: &str) -> Vec<Ipv4Addr> {
    let mut found = Vec::new();
    let mut last = None;
    for line in trie.lines().map(str::trim) {
        if let Some(address) = line.strip_prefix("|-- ") {
            last = address.parse::<Ipv4Addr>().ok();
        } else if line.starts_with("/32 host LOCAL")
            && let Some(address) = last.filter(|address| !address.is_loopback() && !found.contains(address))
        {
            found.push(address);
        }
    }
    found
}

fn listening(table: &str) -> Vec<u16> {
    let port = |line: &str| {
        let mut fields = line.split_whitespace().skip(1);
        let (local, state) = (fields.next()?, fields.nth(1)?);
        (state == LISTENING).then(|| u16::from_str_radix(local.rsplit_once(':')?.1, 16).ok())?
    };
    table.lines().skip(1).filter_map(port).collect()
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// Writes a file of a test's machine.
    pub fn put(root: &Path, path: &str, content: &str) {
        let place = under(root, path);
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        fs::write(place, content).unwrap();
    }

    pub const TRIE: &str = "Main:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 0.0.0.0\n        /0 universe UNICAST\n     |-- 10.10.0.0\n        /24 link UNICAST\n\
        Local:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 10.10.0.10\n        /32 host LOCAL\n     |-- 10.10.0.131\n        /32 host LOCAL\n     |-- 127.0.0.1\n        /32 host LOCAL\n";
    pub const ROUTES: &str = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n\
        ens160\t00000000\t02000A0A\t0003\t0\t0\t1024\t00000000\t0\t0\t0\nens160\t00000A0A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n";

    #[test]
    fn addresses_belong_to_the_interface_of_their_network() {
        let found = interfaces(TRIE, ROUTES);
        let [one] = &found[..] else { panic!("{found:?}") };
        let address = |last| Ipv4Addr::new(10, 10, 0, last);
        assert_eq!(one.name, "ens160");
        assert_eq!(one.addresses, [(address(10), 24), (address(131), 24)]);
        assert_eq!(one.router, Some(address(2)));
    }

    #[test]
    fn ports_in_use_are_those_that_listen() {
        let table = "  sl  local_address rem_address   st tx_queue\n   0: 00000000:192B 00000000:0000 0A 0:0\n   1: 0100007F:0016 0100007F:8000 01 0:0\n";
        assert_eq!(listening(table), [6443]);
    }

    #[test]
    fn versions_are_the_programs_own() {
        for (package, version, plain) in [
            ("kubeadm", "1.36.4-1.1", "v1.36.4"),
            ("containerd", "2.2.1~ds1-1+b2", "2.2.1"),
            ("conntrack", "1:1.4.8-2", "1.4.8"),
        ] {
            assert_eq!(upstream(package, version), plain);
        }
    }

    #[test]
    fn a_machine_is_seen_with_what_is_configured() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        put(root, "/etc/kubernetes/pki/ca.crt", "ca");
        put(root, "/etc/hosts", "127.0.0.1 localhost\n");
        put(root, "/etc/modules-load.d/k8s.conf", "# for pods\noverlay\n");
        put(root, HELM, &crate::sim::agent::packages::helm("3.18.6"));
        put(root, "/tmp/values.yaml", "a: 1\n");
        let seen = observe(root, true, &["/tmp/values.yaml".to_owned()], &BTreeMap::new());
        assert_eq!(seen.packages["helm"], "v3.18.6");
        assert!(seen.modules.contains("overlay"));
        assert!(
            seen.files.contains_key("/etc/kubernetes/pki/ca.crt")
                && seen.files.contains_key("/tmp/values.yaml")
        );
        let Seen::File(hosts) = &seen.files["/etc/hosts"] else { panic!() };
        let again = observe(root, true, &[], &BTreeMap::from([("/etc/hosts".to_owned(), digest(hosts))]));
        assert_eq!(again.files["/etc/hosts"], Seen::Same);
        assert!(!again.files.contains_key("/tmp/values.yaml"));
        assert!(observe(root, false, &[], &BTreeMap::new()).files.is_empty());
    }
}
