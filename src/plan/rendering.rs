//! Every file that a lab puts anywhere, as values: to read, to compare, to test. Nothing is touched.

use crate::lab::{Lab, paths};
use crate::stack::identity::Identity;
use crate::stack::{cilium, cloud_init, ingress, node as nodes, vm};

use super::desired::kubeconfig_text;
use super::facts::Facts;
use super::networks::{self, NetworkEdit};

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
        renderings.push((format!("{folder}/{}.vmx", node.name), vmx));
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
    if let NetworkEdit::Change(change) = networks::edit(lab, facts) {
        files.push(("host/networking.diff".to_owned(), change.diff.into_bytes()));
        files.push(("host/networking".to_owned(), change.after));
    }
    files
}

fn template_files(lab: &Lab) -> Vec<(String, Vec<u8>)> {
    let key = vm::template_key(lab);
    let vmx = vm::template_vmx(lab, &key).render();
    let mut files = vec![("template/template.vmx".to_owned(), vmx)];
    let seed = cloud_init::bake_seed(lab, &key);
    files.extend(seed.into_iter().map(|(name, content)| (format!("template/seed/{name}"), content)));
    files
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::fixture::World;
    use super::*;

    fn rendered(secrets: bool) -> (World, Vec<Rendering>) {
        let mut world = World::complete();
        world.facts.networking = World::empty().facts.networking;
        let renderings = files(&world.lab, world.identity.as_ref().unwrap(), &world.facts, secrets);
        (world, renderings)
    }

    #[test]
    fn a_rendering_has_no_path_twice_and_none_that_leads_out() {
        let (_, renderings) = rendered(false);
        let paths: BTreeSet<&str> = renderings.iter().map(|file| file.path.as_str()).collect();
        assert_eq!(paths.len(), renderings.len());
        assert!(paths.iter().all(|path| !path.starts_with('/') && !path.contains("..")), "{paths:?}");
    }

    #[test]
    fn no_secret_is_rendered_unless_asked_for() {
        let (world, renderings) = rendered(false);
        let identity = world.identity.unwrap();
        let secrets: Vec<String> = identity
            .files()
            .iter()
            .filter(|file| file.secret)
            .map(|file| String::from_utf8_lossy(&file.content).trim().to_owned())
            .collect();
        assert!(secrets.len() > 10, "only {} secrets", secrets.len());
        for file in &renderings {
            let text = String::from_utf8_lossy(&file.content);
            let leak = secrets.iter().find(|secret| text.contains(secret.as_str()));
            assert!(leak.is_none() && !text.contains("PRIVATE KEY-----"), "{}:\n{text}", file.path);
        }
        assert!(renderings.iter().any(|file| file.redacted));
        let (_, open) = rendered(true);
        assert!(open.iter().all(|file| !file.redacted));
        assert!(open.iter().any(|file| String::from_utf8_lossy(&file.content).contains("PRIVATE KEY")));
    }

    #[test]
    fn what_is_rendered_for_a_guest_is_what_up_puts_there() {
        let (world, renderings) = rendered(true);
        let wished = world.desired().files;
        for (node, files) in &wished {
            for (path, digest) in files {
                let place = format!("nodes/{node}/root{path}");
                let file =
                    renderings.iter().find(|file| file.path == place).unwrap_or_else(|| panic!("no {place}"));
                assert_eq!(super::super::desired::sha256(&file.content), *digest, "{place}");
            }
        }
    }
}
