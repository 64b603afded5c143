//! What a model guest has of memory and disk, and what of it the things in it take. Nothing is measured: each unit, pod, package
//! and image that the model holds counts with about what the real one takes.

use super::Model;

const MIB: u64 = 1024 * 1024;

/// What the kernel keeps for itself is not in `MemTotal`: about so many hundredths.
const KERNELS_OWN: u64 = 4;
/// A booted Ubuntu 24.04 without anything of ours.
const SYSTEM_MEMORY_MIB: u64 = 190;
/// A pod whose size is not known.
const POD_MEMORY_MIB: u64 = 40;
/// The cloud image's root file system before anything is installed.
const SYSTEM_DISK_MIB: u64 = 1_700;
const PACKAGE_DISK_MIB: u64 = 30;
/// An image, unpacked.
const IMAGE_DISK_MIB: u64 = 130;

/// MiB that a unit or a static pod takes while it runs.
const TAKES_MIB: &[(&str, u64)] = &[
    ("containerd", 60),
    ("kubelet", 80),
    ("nginx", 12),
    ("keepalived", 12),
    ("fusionlab-dns", 4),
    ("fusionlab-kubeadm", 60),
    ("etcd", 90),
    ("kube-apiserver", 360),
    ("kube-controller-manager", 70),
    ("kube-scheduler", 35),
];

/// What there is of something, and what of it is taken, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    pub total: u64,
    pub used: u64,
}

fn takes(name: &str) -> u64 {
    TAKES_MIB.iter().find(|(known, _)| *known == name).map_or(0, |(_, mib)| *mib)
}

/// Returns the machine's memory, and what runs in it.
pub fn memory(model: &Model) -> Usage {
    let total = u64::from(model.hardware.memory_mib) * MIB / 100 * (100 - KERNELS_OWN);
    let (named, node, cluster) = model.live(|live| {
        let units = live.active_units().into_iter().filter(|unit| live.unit_active(unit));
        let named: u64 = units.chain(live.static_pods.iter().cloned()).map(|name| takes(&name)).sum();
        (named, live.node.clone(), live.cluster.clone())
    });
    let others = node.zip(cluster).map_or(0, |(node, cluster)| {
        let data = cluster.data();
        let here = |pod: &&serde_json::Value| {
            pod["spec"]["nodeName"] == node.as_str() && pod["status"]["phase"] == "Running"
        };
        data.list("pods", None).into_iter().filter(here).count() as u64
    });
    let used = (SYSTEM_MEMORY_MIB + named + others * POD_MEMORY_MIB) * MIB;
    Usage { total, used: used.min(total) }
}

/// Returns the root file system, which is as large as the disk, and what lies on it.
pub fn disk(model: &Model) -> Usage {
    let total = model.hardware.disk_bytes;
    let used = model.disk(|disk| {
        let files: u64 = disk.files().map(|(_, file)| file.content.len() as u64).sum();
        let programs = disk.packages.len() as u64 * PACKAGE_DISK_MIB;
        let images = disk.images.len() as u64 * IMAGE_DISK_MIB;
        (SYSTEM_DISK_MIB + programs + images) * MIB + files
    });
    Usage { total, used: used.min(total) }
}

/// Returns how much is at work: cloud-init's run and kubeadm's count as one each.
pub fn load(model: &Model) -> u32 {
    model.live(|live| {
        let at_work = [live.cloud_init.status == "running", live.unit_active("fusionlab-kubeadm")];
        at_work.into_iter().map(u32::from).sum()
    })
}

/// Returns `/proc/meminfo` as far as anybody reads it.
pub fn meminfo(model: &Model) -> String {
    let Usage { total, used } = memory(model);
    let line = |name: &str, bytes: u64| format!("{:<16}{:>8} kB", format!("{name}:"), bytes / 1024);
    let free = total - used;
    [line("MemTotal", total), line("MemFree", free), line("MemAvailable", free)].join("\n")
}

/// Returns `/proc/loadavg`.
pub fn loadavg(model: &Model) -> String {
    let load = load(model);
    let units = model.live(|live| live.active_units().len());
    format!("{load}.00 {load}.00 {load}.00 {}/{units} 1", load.max(1))
}
