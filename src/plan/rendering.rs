//! Every file that a lab puts anywhere, as values: to read, to compare, to test. Nothing is touched.

use crate::formats::lines::unified_diff;
use crate::lab::{Lab, paths};
use crate::stack::identity::Identity;
use crate::stack::{cilium, cloud_init, ingress, node as nodes, vm};

use super::desired::{NetworkWish, kubeconfig_text, network_wish};
use super::facts::Facts;

/// One file of a rendering.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rendering {
    /// Below the folder that is rendered into, such as `nodes/gateway1/root/etc/nginx/nginx.conf`.
    pub path: String,
    pub content: Vec<u8>,
    /// Whether secrets in it were replaced by a placeholder.
    pub redacted: bool,
}

/// Renders a lab. Of the facts, only Fusion's networking file counts. With `secrets`, keys and tokens are in it.
pub fn files(lab: &Lab, identity: &Identity, facts: &Facts, secrets: bool) -> Vec<Rendering> {
    let mut renderings = host_files(lab, identity, facts);
    renderings.extend(template_files(lab));
    for node in &lab.nodes {
        let folder = format!("nodes/{}", node.name);
        let vmx = vm::node_vmx(lab, node, None, paths::DISK_VMDK).render();
        renderings.push((format!("{folder}/{}.vmx", node.name), vmx.into_bytes()));
        let seed = cloud_init::seed(lab, node, identity);
        renderings.extend(seed.into_iter().map(|(name, content)| (format!("{folder}/seed/{name}"), content)));
        let files = nodes::files_of(lab, identity, node);
        renderings
            .extend(files.into_iter().map(|file| (format!("{folder}/root{}", file.path), file.content)));
    }
    let values = cilium::values_file(lab);
    renderings.push(("cluster/cilium-values.yaml".to_owned(), values.content));
    renderings.push(("cluster/ingress.yaml".to_owned(), ingress::file(lab, identity).content));
    renderings.into_iter().map(|(path, content)| rendering(path, content, identity, secrets)).collect()
}

fn rendering(path: String, content: Vec<u8>, identity: &Identity, secrets: bool) -> Rendering {
    if secrets {
        return Rendering { path, content, redacted: false };
    }
    let concealed = identity.conceal(&String::from_utf8_lossy(&content)).into_bytes();
    Rendering { redacted: concealed != content, path, content: concealed }
}

fn host_files(lab: &Lab, identity: &Identity, facts: &Facts) -> Vec<(String, Vec<u8>)> {
    let mut files = vec![("host/kubeconfig".to_owned(), kubeconfig_text(lab, identity, None).into_bytes())];
    if let NetworkWish::Change { after, .. } = network_wish(lab, facts) {
        let before = facts.networking.clone().unwrap_or_default();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let diff = unified_diff(&text(&before), &text(&after), "networking");
        files.push(("host/networking.diff".to_owned(), diff.into_bytes()));
        files.push(("host/networking".to_owned(), after));
    }
    files
}

fn template_files(lab: &Lab) -> Vec<(String, Vec<u8>)> {
    let key = vm::template_key(lab);
    let vmx = vm::template_vmx(lab, &key).render();
    let mut files = vec![("template/template.vmx".to_owned(), vmx.into_bytes())];
    let seed = cloud_init::bake_seed(lab, &key);
    files.extend(seed.into_iter().map(|(name, content)| (format!("template/seed/{name}"), content)));
    files
}
