//! The templates in the home folder, whichever lab made them.

use std::collections::BTreeSet;
use std::path::Path;

use crate::formats::vmx::Vmx;
use crate::host::fusion::{Fusion, vmx_file};
use crate::host::{Result, files};
use crate::lab::names;
use crate::lab::paths::Home;
use crate::stack::bake::Baked;

use super::observe::library_vmx_files;

/// One template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    pub key: String,
    /// `displayName` of its VMX, which names the image.
    pub image: String,
    /// The baked version; a dash before the bake is done.
    pub kubernetes: String,
    pub bytes: u64,
    /// Names of the labs whose VMs were made from it.
    pub used_by: Vec<String>,
}

/// Lists the templates. A lab uses a template if one of its VMs in the library hangs on its disk.
pub fn list(home: &Home, fusion: &Fusion) -> Result<Vec<Template>> {
    let vms = lab_vms(fusion);
    let mut templates = Vec::new();
    for folder in files::list(&home.templates())?.into_iter().filter(|path| files::is_folder(path)) {
        let key = folder.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let vmx = folder.join("template.vmwarevm/template.vmx");
        let image =
            read_vmx(&vmx).and_then(|vmx| vmx.get("displayName")).unwrap_or_else(|| "unfinished".to_owned());
        let users = vms.iter().filter(|(_, template)| *template == key).map(|(lab, _)| lab.clone());
        templates.push(Template {
            image,
            kubernetes: baked_version(&folder).unwrap_or_else(|| "-".to_owned()),
            bytes: size_of(&folder)?,
            used_by: users.collect::<BTreeSet<_>>().into_iter().collect(),
            key,
        });
    }
    Ok(templates)
}

/// Removes a template; whoever calls has seen that nobody uses it.
pub fn remove(home: &Home, key: &str) -> Result<()> {
    files::remove_tree(&home.template(key), &home.templates())
}

/// Returns each VM that bears a lab's mark: the lab, and the key of the template it was made from.
fn lab_vms(fusion: &Fusion) -> Vec<(String, String)> {
    let marked = |vmx: Vmx| Some((vmx.get(names::VMX_LAB)?, vmx.get(names::VMX_TEMPLATE)?));
    library_vmx_files(&fusion.library).iter().filter_map(|path| read_vmx(path)).filter_map(marked).collect()
}

fn read_vmx(path: &Path) -> Option<Vmx> {
    vmx_file::read(path).ok()?
}

fn baked_version(folder: &Path) -> Option<String> {
    let bytes = files::read(&folder.join("baked.json")).ok()?;
    let baked: Option<Baked> = serde_json::from_slice(&bytes).ok()?;
    baked?.programs.get("kubeadm").map(|version| version.trim_start_matches('v').to_owned())
}

fn size_of(folder: &Path) -> Result<u64> {
    let mut bytes = 0;
    for path in files::list(folder)? {
        bytes += if files::is_folder(&path) { size_of(&path)? } else { files::size(&path)? };
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{Bench, Machines};
    use super::*;

    fn listed(bench: &Bench) -> Vec<Template> {
        list(&bench.engine.home, &bench.engine.fusion).unwrap()
    }

    #[test]
    fn a_template_tells_its_image_its_version_and_who_hangs_on_it() {
        let bench = Bench::new(Machines::default());
        let home = &bench.engine.home;
        files::remove_tree(&home.templates(), &home.0).unwrap();
        let folder = home.template("0123");
        bench.file(&folder.join("template.vmwarevm/template.vmx"), "displayName = \"Debian 13\"\n");
        bench.file(&folder.join("baked.json"), r#"{"version":1,"kubeadm":"v1.36.4"}"#);
        let vmx = |lab: &str, key: &str| {
            format!("{} = \"{lab}\"\n{} = \"{key}\"\n", names::VMX_LAB, names::VMX_TEMPLATE)
        };
        bench.file(&bench.engine.vmx("gateway1"), &vmx("lab", "0123"));
        bench.file(&bench.engine.vmx("gateway2"), &vmx("lab", "0123"));
        bench.file(&bench.engine.vmx("k8s-master1"), &vmx("other", "4567"));
        bench.file(&home.template("89ab").join("template.vmwarevm/disk.vmdk"), "12345");
        let all = listed(&bench);
        assert_eq!(all.len(), 2);
        let (whole, half) = (&all[0], &all[1]);
        assert_eq!((whole.key.as_str(), whole.image.as_str()), ("0123", "Debian 13"));
        assert_eq!(whole.kubernetes, "1.36.4");
        assert_eq!(whole.used_by, ["lab"]);
        assert_eq!((half.image.as_str(), half.kubernetes.as_str(), half.bytes), ("unfinished", "-", 5));
        assert!(half.used_by.is_empty());
        remove(home, "0123").unwrap();
        assert_eq!(listed(&bench).iter().map(|template| template.key.as_str()).collect::<Vec<_>>(), ["89ab"]);
    }
}
