//! The programs of the model guest, one file for each tool; what none of them knows does not exist.

pub mod chronyc;
pub mod cloud_init;
pub mod coreutils;
pub mod crictl;
pub mod curl;
pub mod df;
pub mod dnsmasq;
pub mod facts;
pub mod flock;
pub mod helm;
pub mod helm_chart;
pub mod ip;
pub mod journalctl;
pub mod keepalived;
pub mod kubeadm;
pub mod kubeadm_files;
pub mod kubeadm_unit;
pub mod kubectl;
pub mod kubectl_exec;
pub mod nginx;
pub mod ping;
pub mod pod_curl;
pub mod python3;
pub mod rpctool;
pub mod system;
pub mod systemctl;
pub mod tar;

use super::shell::Call;

/// Returns the package that brings a program; empty for the base system's, none for what the model does not know.
pub fn package_of(program: &str) -> Option<&'static str> {
    Some(match program {
        "kubeadm" => "kubeadm",
        "kubectl" => "kubectl",
        "kubelet" => "kubelet",
        "crictl" => "cri-tools",
        "containerd" => "containerd",
        "helm" => "helm",
        "nginx" => "nginx",
        "keepalived" => "keepalived",
        "dnsmasq" => "dnsmasq-base",
        "chronyc" => "chrony",
        "cloud-init" => "cloud-init",
        "vmware-rpctool" => "open-vm-tools",
        "install" | "mv" | "cat" | "tail" | "rm" | "mkdir" | "test" | "true" | "false" | "echo" | "chmod"
        | "touch" | "sync" => "",
        "iptables-save" | "iptables-restore" => "iptables",
        "hostname" | "sysctl" | "modprobe" | "swapoff" | "netplan" | "poweroff" | "id" | "date"
        | "resolvectl" => "",
        "curl" | "df" | "flock" | "ip" | "tar" | "journalctl" | "ping" | "python3" | "systemctl" => "",
        _ => return None,
    })
}

/// Runs a program by its name; [`package_of`] knows it.
pub async fn run(call: &mut Call<'_>, program: &str) -> i32 {
    match program {
        "kubeadm" => kubeadm::run(call).await,
        "kubectl" => kubectl::run(call).await,
        "helm" => helm::run(call).await,
        "crictl" => crictl::run(call).await,
        "nginx" => nginx::run(call).await,
        "keepalived" => keepalived::run(call).await,
        "chronyc" => chronyc::run(call).await,
        "cloud-init" => cloud_init::run(call).await,
        "curl" => curl::run(call).await,
        "df" => df::run(call).await,
        "dnsmasq" => dnsmasq::run(call).await,
        "flock" => flock::run(call).await,
        "ping" => ping::run(call).await,
        "python3" => python3::run(call).await,
        "ip" => ip::run(call).await,
        "journalctl" => journalctl::run(call).await,
        "vmware-rpctool" => rpctool::run(call).await,
        "systemctl" => systemctl::run(call).await,
        "tar" => tar::run(call).await,
        "kubelet" | "containerd" => system::version(call, program).await,
        "hostname" | "sysctl" | "modprobe" | "swapoff" | "netplan" | "poweroff" | "id" | "date"
        | "resolvectl" | "iptables-save" | "iptables-restore" => system::run(call, program).await,
        _ => coreutils::run(call, program).await,
    }
}
