//! Where everything stands on the simulated Mac, under its root folder.

use std::ffi::OsStr;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};

/// The bundle, as on a Mac.
const APP: &str = "Applications/VMware Fusion.app";
/// Where Fusion keeps its programs.
const PROGRAMS: &str = "Applications/VMware Fusion.app/Contents/Library";
/// macOS's own programs that are there too, each with its folder.
const SYSTEM_PROGRAMS: &[(&str, &str)] = &[
    ("arp", "usr/sbin"),
    ("netstat", "usr/sbin"),
    ("networksetup", "usr/sbin"),
    ("pgrep", "usr/bin"),
    ("ping", "sbin"),
    ("pmset", "usr/bin"),
    ("sysctl", "usr/sbin"),
    ("system_profiler", "usr/sbin"),
    ("vm_stat", "usr/bin"),
];
/// The longest path that a Unix socket's address holds on macOS, with room for the final zero.
const SOCKET_PATH_MAX: usize = 100;

/// One simulated Mac, by its root folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Places {
    root: PathBuf,
}

impl Places {
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// Finds the root from the path that a simulated program was started by; none if that is elsewhere. The
    /// computer's own root is no simulated Mac.
    pub fn of_program(program: &Path) -> Option<Self> {
        let folder = Path::new(folder_of(program.file_name()?.to_str()?));
        let root = program.parent()?.ancestors().nth(folder.components().count())?;
        let is_simulated = root.parent().is_some() && program.parent()? == root.join(folder);
        is_simulated.then(|| Self::new(root))
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    pub fn app(&self) -> PathBuf {
        self.root.join(APP)
    }

    pub fn info_plist(&self) -> PathBuf {
        self.app().join("Contents/Info.plist")
    }

    /// What says which macOS this is.
    pub fn system_version(&self) -> PathBuf {
        self.root.join("System/Library/CoreServices/SystemVersion.plist")
    }

    pub fn program(&self, name: &str) -> PathBuf {
        self.root.join(folder_of(name)).join(name)
    }

    pub fn preferences(&self) -> PathBuf {
        self.root.join("Library/Preferences/VMware Fusion")
    }

    /// The database of Fusion's networks.
    pub fn networking(&self) -> PathBuf {
        self.preferences().join("networking")
    }

    /// The generated files of one network: `dhcpd.conf`, `nat.conf`.
    pub fn vmnet(&self, number: u8) -> PathBuf {
        self.preferences().join(format!("vmnet{number}"))
    }

    pub fn leases(&self, number: u8) -> PathBuf {
        self.root.join(format!("var/db/vmware/vmnet-dhcpd-vmnet{number}.leases"))
    }

    /// The user's VMs.
    pub fn library(&self) -> PathBuf {
        self.root.join("Virtual Machines.localized")
    }

    /// The cloud image that simulated machines start from.
    pub fn image(&self) -> PathBuf {
        self.root.join("var/cache/simulated-cloud-image.img")
    }

    /// The port of the way in, kept from one world to the next.
    pub fn dial_port(&self) -> PathBuf {
        self.root.join("var/db/fusionlab-sim-port")
    }

    /// The simulation's settings and planted faults.
    pub fn settings(&self) -> PathBuf {
        self.root.join("var/db/fusionlab-sim.json")
    }

    /// What `vmnet-cli` started and last applied.
    pub fn networks(&self) -> PathBuf {
        self.root.join("var/db/fusionlab-sim-networks.json")
    }

    /// VMs that were registered with vmrest, one VMX path a line.
    pub fn inventory(&self) -> PathBuf {
        self.root.join("var/db/fusionlab-sim-inventory")
    }

    pub fn run(&self) -> PathBuf {
        self.root.join("var/run")
    }

    /// Names the way to the guests: see `Fusion::dial_file`.
    pub fn dial_file(&self) -> PathBuf {
        self.run().join("fusionlab-dial")
    }

    /// Held while somebody starts the world.
    pub fn world_lock(&self) -> PathBuf {
        self.run().join("fusionlab-sim.lock")
    }

    /// What the world says on its way.
    pub fn world_log(&self) -> PathBuf {
        self.run().join("vmware-vmx.log")
    }

    /// The socket that the programs reach the world by. Under a very deep root it stands in the temporary
    /// folder, because a socket's address is short.
    pub fn socket(&self) -> PathBuf {
        let socket = self.run().join("fusionlab-sim.sock");
        if socket.as_os_str().len() <= SOCKET_PATH_MAX {
            return socket;
        }
        let mut hasher = DefaultHasher::new();
        self.root.hash(&mut hasher);
        std::env::temp_dir().join(format!("fusionlab-sim-{:016x}.sock", hasher.finish()))
    }
}

/// Returns the folder of a program, from the root: Fusion's own stand in its bundle.
fn folder_of(program: &str) -> &'static str {
    SYSTEM_PROGRAMS.iter().find(|(name, _)| *name == program).map_or(PROGRAMS, |(_, folder)| folder)
}

/// Returns the program's own path and name as it was called by: `argv[0]`, searched for in `PATH` if it is bare.
pub fn called_as() -> Option<PathBuf> {
    let called = PathBuf::from(std::env::args_os().next()?);
    if called.components().count() > 1 {
        return std::path::absolute(called).ok();
    }
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(&called)).find(|found| found.is_file())
}

/// Returns the name of a VMX's VM as messages and faults call it: the file's stem.
pub fn vm_name(vmx: &Path) -> String {
    vmx.file_stem().unwrap_or(OsStr::new("?")).to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_finds_its_root_by_its_own_path() {
        let places = Places::new("/mac");
        for program in ["vmrun", "netstat", "pgrep"] {
            assert_eq!(Places::of_program(&places.program(program)), Some(places.clone()), "{program}");
        }
        assert_eq!(places.program("netstat"), Path::new("/mac/usr/sbin/netstat"));
        assert_eq!(Places::of_program(Path::new("/usr/sbin/netstat")), None, "this computer's own");
        assert_eq!(Places::of_program(Path::new("/mac/usr/bin/netstat")), None);
        assert_eq!(Places::of_program(Path::new("/usr/bin/vmrun")), None);
        assert_eq!(Places::of_program(Path::new("/a/b/c/d/e/vmrun")), None);
    }

    #[test]
    fn a_deep_root_still_has_a_socket() {
        let places = Places::new(format!("/{}", "deep/".repeat(40)));
        assert!(places.socket().as_os_str().len() <= SOCKET_PATH_MAX);
        assert_ne!(places.socket(), Places::new(format!("/{}", "deep/".repeat(41))).socket());
    }
}
