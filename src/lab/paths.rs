//! Every file and folder that fusionlab owns on the host, said once.
//!
//! ```text
//! ~/.fusionlab/                     FUSIONLAB_HOME
//!   labs/<lab>/                     one lab; gone after `destroy`
//!     journal.jsonl                 what was done, step by step
//!     made-from.json                the size that `--preset` named, and where the lab file was
//!     identity/                     0700: keys, certificates, tokens made before anything boots
//!     kubeconfig                    0600: the user's, with the LAN VIP as server
//!     kubeconfig-merged.json        the user's kubeconfigs that have the lab's entries
//!     resolver.json                 the domain whose names this Mac asks the lab for
//!     known_hosts  ssh_config       for the user's own ssh
//!     lab-ca.crt                    the authority behind https://*.<domain>
//!     network.json  networking.before   what we changed in Fusion's file, and the file before it
//!     drill.json                    what a drill broke; gone when it is put back
//!     logs/                         one folder a run: events.jsonl and a file for each step
//!   labs/.leaving-<lab>/            the same while `destroy` removes it
//!   cache/images/                   downloaded images by digest, and what is on its way
//!   templates/<key>/                golden VMs, shared by labs
//!   network/                        Fusion's networks, shared by labs
//!     backups/                      the networking file before each change, by time and digest
//!     pending.json                  the change under way; gone when its outcome was seen
//!     vmnet2.json  vmnet2.before    that fusionlab made this network, and the file before that
//!     request.json                  what the root step is asked
//!   runs/<lab>/                     journal and logs of runs that make no lab, such as `template build`
//!   runs/costs.json                 how long kinds of steps took in labs that are gone
//!   locks/                          who works on a lab, on Fusion's networks, on a template, on an image
//!   sim/                            the simulated Fusion, laid out like a Mac's root
//! ```

use std::path::{Path, PathBuf};

/// The folder of everything: `FUSIONLAB_HOME`, by default `~/.fusionlab`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Home(pub PathBuf);

impl Home {
    pub fn lab(&self, name: &str) -> LabDir {
        LabDir(self.0.join("labs").join(name))
    }

    pub fn labs(&self) -> PathBuf {
        self.0.join("labs")
    }

    /// What a lab's folder is called while it is removed.
    pub fn leaving(&self, name: &str) -> PathBuf {
        self.labs().join(format!("{LEAVING}{name}"))
    }

    pub fn images(&self) -> PathBuf {
        self.0.join("cache/images")
    }

    pub fn templates(&self) -> PathBuf {
        self.0.join("templates")
    }

    /// The folder of one template, by its key.
    pub fn template(&self, key: &str) -> PathBuf {
        self.templates().join(key)
    }

    /// The folder of runs that make no lab, with the journal and logs that a lab's folder has: of each lab its own, since
    /// the lab's lock is what lets one write there at a time.
    pub fn runs(&self, name: &str) -> LabDir {
        LabDir(self.all_runs().join(name))
    }

    /// The folder of those, and of what outlives labs.
    pub fn all_runs(&self) -> PathBuf {
        self.0.join("runs")
    }

    /// How long kinds of steps took in labs that are gone, on this Mac or on the simulated one.
    pub fn costs(&self, simulated: bool) -> PathBuf {
        self.all_runs().join(if simulated { "costs-simulated.json" } else { "costs.json" })
    }

    /// Where vmrest keeps the credentials that we give it.
    pub fn rest(&self) -> PathBuf {
        self.0.join("rest")
    }

    /// Where changes of Fusion's networking file are kept track of.
    pub fn network(&self) -> PathBuf {
        self.0.join("network")
    }

    /// The record of a network that fusionlab made, whichever lab came first.
    pub fn made_network(&self, vmnet: u8) -> PathBuf {
        self.network().join(format!("vmnet{vmnet}.json"))
    }

    /// Fusion's networking file as it was before fusionlab made a network.
    pub fn before_made_network(&self, vmnet: u8) -> PathBuf {
        self.network().join(format!("vmnet{vmnet}.before"))
    }

    /// The lock of one lab's verbs. It stands outside the lab's folder, which comes and goes.
    pub fn lab_lock(&self, name: &str) -> PathBuf {
        self.0.join(format!("locks/lab-{name}"))
    }

    /// The lock in which orders to Fusion have a share that one lab's verbs give: they may outlive a killed run.
    pub fn orders_lock(&self, name: &str) -> PathBuf {
        self.0.join(format!("locks/orders-{name}"))
    }

    /// The lock of Fusion's networking file, which all labs share.
    pub fn network_lock(&self) -> PathBuf {
        self.0.join("locks/network")
    }

    /// The lock of one template, which labs may share.
    pub fn template_lock(&self, key: &str) -> PathBuf {
        self.0.join(format!("locks/template-{key}"))
    }

    /// Who works on what: a lab, Fusion's networks, a template, an image.
    pub fn locks(&self) -> PathBuf {
        self.0.join("locks")
    }

    pub fn sim(&self) -> PathBuf {
        self.0.join("sim")
    }
}

/// One lab's folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LabDir(pub PathBuf);

impl LabDir {
    pub fn root(&self) -> &Path {
        &self.0
    }

    /// Returns everything that fusionlab makes in it.
    pub fn contents(&self) -> [PathBuf; 13] {
        [
            self.journal(),
            self.made_from(),
            self.identity(),
            self.kubeconfig(),
            self.merged_kubeconfigs(),
            self.resolver_record(),
            self.known_hosts(),
            self.ssh_config(),
            self.lab_ca(),
            self.network_record(),
            self.networking_before(),
            self.drill(),
            self.logs(),
        ]
    }

    pub fn journal(&self) -> PathBuf {
        self.0.join("journal.jsonl")
    }

    /// What the lab was last made from.
    pub fn made_from(&self) -> PathBuf {
        self.0.join("made-from.json")
    }

    pub fn identity(&self) -> PathBuf {
        self.0.join("identity")
    }

    pub fn kubeconfig(&self) -> PathBuf {
        self.0.join("kubeconfig")
    }

    /// The record of the user's kubeconfigs that have the lab's entries.
    pub fn merged_kubeconfigs(&self) -> PathBuf {
        self.0.join("kubeconfig-merged.json")
    }

    /// The record of the file that makes this Mac ask the lab for its names.
    pub fn resolver_record(&self) -> PathBuf {
        self.0.join("resolver.json")
    }

    pub fn known_hosts(&self) -> PathBuf {
        self.0.join("known_hosts")
    }

    pub fn ssh_config(&self) -> PathBuf {
        self.0.join("ssh_config")
    }

    pub fn lab_ca(&self) -> PathBuf {
        self.0.join("lab-ca.crt")
    }

    /// The record of what this lab wrote into Fusion's networking file.
    pub fn network_record(&self) -> PathBuf {
        self.0.join("network.json")
    }

    /// Fusion's networking file as it was before this lab's first change.
    pub fn networking_before(&self) -> PathBuf {
        self.0.join("networking.before")
    }

    /// What a drill broke and has not put back yet.
    pub fn drill(&self) -> PathBuf {
        self.0.join("drill.json")
    }

    pub fn logs(&self) -> PathBuf {
        self.0.join("logs")
    }
}

/// Returns the folder of a VM: `<library>/<lab>/<node>.vmwarevm`.
pub fn vm_bundle(library: &Path, lab: &str, node: &str) -> PathBuf {
    library.join(lab).join(format!("{node}.vmwarevm"))
}

/// Returns the folder in which the VM of a bundle is made before it is renamed to it: `<library>/<lab>/.making-<node>`.
pub fn making(bundle: &Path) -> PathBuf {
    let name = bundle.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    bundle.with_file_name(format!("{MAKING}{name}"))
}

/// Returns the name under which Fusion's REST server makes a VM in the library itself, before it is moved.
pub fn passing_name(lab: &str, node: &str) -> String {
    format!("fusionlab-making-{lab}-{node}")
}

/// Returns the node whose VM is made in this folder; none if it is another folder.
pub fn node_in_making(folder: &Path) -> Option<String> {
    folder.file_name()?.to_str()?.strip_prefix(MAKING).map(str::to_owned)
}

/// Returns the lab whose folder this is, be it on its way out; and whether it is that.
pub fn lab_of(folder: &Path) -> Option<(&str, bool)> {
    let name = folder.file_name()?.to_str()?;
    Some(name.strip_prefix(LEAVING).map_or((name, false), |lab| (lab, true)))
}

/// Returns the VMX of the VM in a bundle: named like the bundle.
pub fn vmx_of(bundle: &Path) -> PathBuf {
    let name = bundle.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    bundle.join(format!("{name}.vmx"))
}

/// What the names of folders begin with in which VMs are made.
const MAKING: &str = ".making-";
/// What the names of labs' folders begin with that are removed.
const LEAVING: &str = ".leaving-";
/// The seed image's file name inside a bundle.
pub const SEED_ISO: &str = "seed.iso";
/// The disk's file name inside a template's or a copied VM's bundle. A linked clone's is Fusion's choice.
pub const DISK_VMDK: &str = "disk.vmdk";
/// The serial console's file name inside a bundle; removed before each start.
pub const CONSOLE_LOG: &str = "console.log";
