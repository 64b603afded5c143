//! What people change by hand between two runs: in a machine's window, in a guest, in the cluster, in the Finder, in
//! Fusion's networking file; and that they close the Mac's lid, or start it anew. The next `up` mends what is the lab's.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use fusionlab::lab::names::ADMIN_CONF;
use fusionlab::lab::paths::{vm_bundle, vmx_of};
use fusionlab::lab::{Lab, Network, Node, Role};
use fusionlab::sim::control::{self, Request};

use super::chance::Chance;
use super::invariants::everything;
use super::mac::Mac;
use super::networking;

const HOUR: Duration = Duration::from_secs(3600);
/// Half a night, a fortnight, and longer than any certificate lasts.
const SLEEPS: &[u64] = &[4, 14 * 24, 400 * 24];

/// How a lock names the other Mac that holds it.
const ANOTHER_MAC: &str = "56-4d-00-00-00-00-00-02";

/// One thing that somebody does.
#[derive(Clone, Copy, Debug)]
enum Deed {
    Memory,
    Card,
    Finder,
    PowerOff,
    Nginx,
    HostsFile,
    Keepalived,
    Kubelet,
    Manifest,
    NodeDeleted,
    NodePort,
    Cilium,
    Reservation,
    Nat,
    Sleep,
    Reboot,
}

const DEEDS: &[Deed] = &[
    Deed::Memory,
    Deed::Card,
    Deed::Finder,
    Deed::PowerOff,
    Deed::Nginx,
    Deed::HostsFile,
    Deed::Keepalived,
    Deed::Kubelet,
    Deed::Manifest,
    Deed::NodeDeleted,
    Deed::NodePort,
    Deed::Cilium,
    Deed::Reservation,
    Deed::Nat,
    Deed::Sleep,
    Deed::Reboot,
];

/// Does one to three things to a lab. What is not there cannot be changed.
pub async fn meddle(mac: &Mac, chance: &mut Chance) {
    for _ in 0..1 + chance.below(3) {
        let deed = *chance.pick(DEEDS);
        mac.inside.note(format!("somebody's hands: {deed:?}"));
        does(mac, chance, deed).await;
    }
}

async fn does(mac: &Mac, chance: &mut Chance, deed: Deed) {
    let lab = mac.lab();
    let any = chance.pick(&lab.nodes).clone();
    let of = |role: Role| lab.nodes.iter().find(|node| node.role == role).unwrap_or(&any);
    let (gateway, master) = (of(Role::Gateway), of(Role::ControlPlane));
    match deed {
        Deed::Memory => {
            let old = format!("memsize = \"{}\"", any.memory_mib);
            vmx_edited(mac, lab, &any, &old, "memsize = \"1024\"").await;
        }
        Deed::Card => {
            // A gateway's first card is bridged, and its second one is on our network, as others' first.
            let number = chance.below(any.nics.len() as u64);
            let of = |kind: &str| format!("ethernet{number}.connectionType = \"{kind}\"");
            let was = match any.nics[usize::try_from(number).expect("it is small")].network {
                Network::Lan => of("bridged"),
                Network::Internal => of("custom"),
            };
            vmx_edited(mac, lab, &any, &was, &of("nat")).await;
        }
        Deed::Finder => {
            let vmx = vmx(mac, lab, &any);
            power_off(mac, &vmx).await;
            drop(fs::remove_dir_all(vmx.parent().expect("a VMX is in a folder")));
        }
        Deed::PowerOff => power_off(mac, &vmx(mac, lab, &any)).await,
        Deed::Nginx => append(mac, gateway, "/etc/nginx/nginx.conf").await,
        Deed::HostsFile => append(mac, &any, "/etc/hosts").await,
        Deed::Keepalived => console(mac, gateway, "systemctl stop keepalived", "").await,
        Deed::Kubelet => console(mac, master, "systemctl disable --now kubelet", "").await,
        Deed::Manifest => {
            console(mac, master, "rm /etc/kubernetes/manifests/kube-scheduler.yaml", "").await;
        }
        Deed::NodeDeleted => kubectl(mac, master, &format!("delete nodes {}", any.name)).await,
        Deed::NodePort => kubectl(mac, master, "-n lab-gateway delete services cilium-gateway-lab").await,
        Deed::Cilium => {
            let patch =
                r#"patch configmaps cilium-config --type merge -p '{"data":{"routing-mode":"tunnel"}}'"#;
            kubectl(mac, master, &format!("-n kube-system {patch}")).await;
        }
        Deed::Reservation => {
            let mac_of_card = any.internal().mac.to_string();
            networking::edit(&mac.inside, |mut lines| {
                lines.retain(|line| {
                    !String::from_utf8_lossy(line).to_ascii_lowercase().contains(&mac_of_card)
                });
                lines
            });
        }
        // A network that two labs share is mended by the one that made it, and refused by the other.
        Deed::Nat if mac.second().is_some() => {}
        Deed::Nat => networking::edit(&mac.inside, |mut lines| {
            let key = format!("answer VNET_{}_NAT yes", lab.internal.vmnet);
            for line in lines.iter_mut().filter(|line| line.starts_with(key.as_bytes())) {
                *line = String::from_utf8_lossy(line).replace("_NAT yes", "_NAT no").into_bytes();
            }
            lines
        }),
        Deed::Sleep => {
            let hours = u32::try_from(*chance.pick(SLEEPS)).expect("it is small");
            mac.inside.sleep(HOUR * hours).await.expect("the world answers");
        }
        Deed::Reboot => mac.inside.reboot().await.expect("the Mac's own files can be written"),
    }
}

fn vmx(mac: &Mac, lab: &Lab, node: &Node) -> PathBuf {
    vmx_of(&vm_bundle(&mac.fusion.library, &lab.name, &node.name))
}

/// Switches a VM off, if it runs.
pub async fn power_off(mac: &Mac, vmx: &Path) {
    let stop = Request::Stop { vmx: vmx.to_owned(), soft: false };
    control::ask(&mac.inside.places, &stop).await.expect("the world answers");
    // Fusion lets go of its files a little later.
    tokio::time::sleep(Duration::from_secs(5)).await;
}

/// Changes the settings of a VM in its window, for which it must be off.
async fn vmx_edited(mac: &Mac, lab: &Lab, node: &Node, old: &str, new: &str) {
    let path = vmx(mac, lab, node);
    power_off(mac, &path).await;
    if let Ok(text) = fs::read_to_string(&path) {
        fs::write(&path, text.replace(old, new)).expect("it can be written");
    }
}

async fn console(mac: &Mac, node: &Node, line: &str, input: &str) {
    let ended = mac.inside.at_console(&vmx(mac, mac.lab(), node), line, input).await;
    let status = ended.map_or_else(|| "it is off".to_owned(), |(status, _)| status.to_string());
    mac.inside.note(format!("  on {}: {line}: {status}", node.name));
}

async fn kubectl(mac: &Mac, master: &Node, arguments: &str) {
    console(mac, master, &format!("kubectl --kubeconfig {ADMIN_CONF} {arguments}"), "").await;
}

async fn append(mac: &Mac, node: &Node, path: &str) {
    let read = mac.inside.at_console(&vmx(mac, mac.lab(), node), &format!("cat {path}"), "").await;
    if let Some((0, text)) = read {
        let install = format!("install -D -o root -g root -m 0644 /dev/stdin {path}");
        console(mac, node, &install, &format!("{text}# by hand\n")).await;
    }
}

/// Lets the kubelets of the control planes start again, and so what crashed under them.
pub async fn restart_kubelets(mac: &Mac) {
    for lab in mac.labs() {
        for master in lab.control_planes() {
            let restart = "systemctl restart kubelet";
            let ended = mac.inside.at_console(&vmx(mac, lab, master), restart, "").await;
            mac.inside.note(format!("the kubelet of {} starts anew: {ended:?}", master.name));
        }
    }
}

/// Takes the locks away that another Mac left on VMs of ours: nobody but a person can know that they are stale.
pub fn remove_stale_locks(mac: &Mac) {
    for path in everything(&mac.home.0) {
        let is_lock = path.extension().is_some_and(|ending| ending == "lck");
        if is_lock && fs::read(&path).is_ok_and(|text| String::from_utf8_lossy(&text).contains(ANOTHER_MAC)) {
            mac.inside.note(format!("somebody removes a stale lock: {}", path.display()));
            drop(fs::remove_file(path));
        }
    }
}
