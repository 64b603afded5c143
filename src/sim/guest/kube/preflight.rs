//! kubeadm's checks before it begins, by kubeadm's names (facts/kubernetes-cilium.md §1.7).

use super::kubelet::{KUBECONFIG, MANIFESTS};
use super::pki::PKI;
use crate::sim::guest::services::{API, ETCD_CLIENT, ETCD_PEER, KUBELET, port_taken};
use crate::sim::guest::{Model, units};

const LEAST_CPUS: u32 = 2;
const LEAST_MEMORY_MIB: u32 = 1700;
const SCHEDULER: u16 = 10259;
const CONTROLLER_MANAGER: u16 = 10257;
const COMPONENTS: [&str; 4] = ["kube-apiserver", "kube-controller-manager", "kube-scheduler", "etcd"];

/// What the machine is to become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Init,
    JoinControlPlane,
    JoinWorker,
}

/// Returns what stands in the way: `[ERROR Name]: why`, without the brackets.
pub fn errors(model: &Model, role: Role, version: Option<&str>) -> Vec<(String, String)> {
    let mut found: Vec<(String, String)> = Vec::new();
    let mut error = |name: &str, why: String| found.push((name.to_owned(), why));
    let control_plane = role != Role::JoinWorker;
    if control_plane && model.hardware.cpus < LEAST_CPUS {
        error(
            "NumCPU",
            format!(
                "the number of available CPUs {} is less than the required {LEAST_CPUS}",
                model.hardware.cpus
            ),
        );
    }
    if control_plane && model.hardware.memory_mib < LEAST_MEMORY_MIB {
        error(
            "Mem",
            format!(
                "the system RAM ({} MB) is less than the minimum {LEAST_MEMORY_MIB} MB",
                model.hardware.memory_mib
            ),
        );
    }
    let packages = model.disk(|disk| disk.packages.clone());
    if let Some((version, kubelet)) =
        version.zip(packages.get("kubelet")).filter(|(version, kubelet)| kubelet.as_str() != *version)
    {
        error(
            "KubeletVersion",
            format!("the kubelet version {kubelet} does not match the control plane's {version}"),
        );
    }
    if !model.live(|live| live.unit_active("containerd")) {
        error("CRI", "container runtime is not running: validate service connection: dial unix /run/containerd/containerd.sock: connect: no such file or directory".into());
    }
    if !packages.contains_key("conntrack") {
        error("FileExisting-conntrack", "conntrack not found in system path".into());
    }
    if !units::exists(model, "kubelet") {
        error("Service-Kubelet", "kubelet service does not exist".into());
    }
    for module in ["overlay", "br_netfilter"] {
        if !model.live(|live| live.modules.contains(module)) {
            error("SystemVerification", format!("the kernel module {module} is not loaded"));
        }
    }
    if model.live(|live| live.sysctl.get("net.ipv4.ip_forward").map(String::as_str) != Some("1")) {
        error(
            "FileContent--proc-sys-net-ipv4-ip_forward",
            "/proc/sys/net/ipv4/ip_forward contents are not set to 1".into(),
        );
    }
    let fstab = model.disk(|disk| disk.text("/etc/fstab")).unwrap_or_default();
    if fstab
        .lines()
        .filter(|line| !line.starts_with('#'))
        .any(|line| line.split_whitespace().nth(2) == Some("swap"))
    {
        error("Swap", "running with swap on is not supported. Please disable swap".into());
    }
    for (name, why) in leftovers(model, role) {
        error(&name, why);
    }
    found
}

/// What an earlier run left behind.
fn leftovers(model: &Model, role: Role) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let ports: &[u16] = match role {
        Role::JoinWorker => &[KUBELET],
        _ => &[API, SCHEDULER, CONTROLLER_MANAGER, KUBELET, ETCD_CLIENT, ETCD_PEER],
    };
    for port in ports.iter().filter(|port| port_taken(model, **port)) {
        found.push((format!("Port-{port}"), format!("Port {port} is in use")));
    }
    let mut files: Vec<String> = Vec::new();
    if role != Role::JoinWorker {
        files.extend(COMPONENTS.iter().map(|name| format!("{MANIFESTS}/{name}.yaml")));
    }
    if role != Role::Init {
        files.extend([KUBECONFIG.to_owned(), "/etc/kubernetes/bootstrap-kubelet.conf".to_owned()]);
    }
    if role == Role::JoinWorker {
        files.push(format!("{PKI}/ca.crt"));
    }
    for path in files.into_iter().filter(|path| model.disk(|disk| disk.file(path).is_some())) {
        found.push((format!("FileAvailable-{}", path.replace('/', "-")), format!("{path} already exists")));
    }
    if role != Role::JoinWorker && model.disk(|disk| disk.etcd.is_some()) {
        found.push(("DirAvailable--var-lib-etcd".into(), "/var/lib/etcd is not empty".into()));
    }
    found
}
