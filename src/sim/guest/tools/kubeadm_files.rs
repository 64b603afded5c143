//! kubeadm's parts that only write a node's own files: certificates renewed or made anew, manifests put back.

use super::kubeadm::read;
use crate::sim::guest::kube::init::Init;
use crate::sim::guest::kube::{aging, kubelet, pki};
use crate::sim::guest::pace;
use crate::sim::guest::shell::Call;

/// `kubeadm certs renew all`: every certificate but the kubelet's, valid as long as the configuration says.
pub async fn renew(call: &Call<'_>, path: &str) -> Result<(), String> {
    let model = call.model;
    let documents = read(call, path)?;
    let init = Init::new(model, &documents)?;
    model.pass(pace::KUBEADM_CERTS).await;
    model.change_disk(|disk| aging::renew(disk, init.node.end_of_certificates()))?;
    model.sync();
    call.say(
        "Done renewing certificates. You must restart the kube-apiserver, kube-controller-manager, kube-scheduler and \
         etcd, so that they can use the new certificates.",
    )
    .await;
    Ok(())
}

/// `kubeadm init phase certs|control-plane|etcd PART`: writes what is not there, and keeps certificates that are.
pub async fn phase(call: &Call<'_>, phase: &str, part: &str, path: &str) -> Result<(), String> {
    let model = call.model;
    let documents = read(call, path)?;
    let init = Init::new(model, &documents)?;
    let manifest = match (phase, part) {
        ("certs", "apiserver") => {
            model.change_disk(|disk| init.node.certificates(disk))?;
            None
        }
        ("etcd", "local") => Some("etcd"),
        ("control-plane", "apiserver") => Some("kube-apiserver"),
        ("control-plane", "controller-manager") => Some("kube-controller-manager"),
        ("control-plane", "scheduler") => Some("kube-scheduler"),
        (phase, part) => return Err(format!("invalid subcommand \"{phase} {part}\"")),
    };
    if let Some(name) = manifest {
        if model.disk(|disk| pki::authority(disk, "ca").is_none()) {
            return Err("couldn't load the CA certificate".to_owned());
        }
        model.change_disk(|disk| init.node.manifest(disk, name));
        call.say(format!("[{phase}] Creating static Pod manifest for \"{name}\"")).await;
        kubelet::manifests_changed(model).await;
    }
    model.sync();
    Ok(())
}
