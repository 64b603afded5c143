//! Makes of installed packages what a cloud image is, and what a simulated machine needs (facts/test-bench.md §2).

use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use super::{Options, tools};
use crate::sim::agent::PORT;
use crate::sim::agent::{self, packages};
use crate::sim::files;
use crate::sim::linux::internet::Keys;
use crate::sim::linux::net::INTERNET;

/// Rises with every change of what is done here: it is part of an image's key.
pub const VERSION: u32 = 4;

const FOLDER: &str = "usr/lib/fusionlab-sim";
const GENERATOR: &str = "usr/libexec/netplan/generate";
const KEYRING: &str = "usr/share/keyrings/debian-archive-keyring";
const MIRRORS: &str = "etc/apt/mirrors";
const KEYRINGS: &[&str] = &["etc/apt/trusted.gpg.d", "usr/share/keyrings"];
const AUTHORITY: &str = "usr/local/share/ca-certificates/fusionlab-sim.crt";
const JOIN: &str = "etc/systemd/system/fusionlab-sim-join.service";
const CHRONY: &str = "etc/systemd/system/chrony.service.d/fusionlab-sim.conf";
/// What tells one machine from another, or is the building computer's.
const OF_ONE_MACHINE: &[&str] = &[
    "etc/hostname",
    "etc/machine-id",
    "etc/resolv.conf",
    "var/lib/dbus/machine-id",
    "var/lib/systemd/credential.secret",
    "var/lib/systemd/random-seed",
    "etc/apt/sources.list",
    "var/lib/apt/lists",
    "var/log/apt",
    "var/log/bootstrap.log",
    "var/log/dpkg.log",
    "var/log/alternatives.log",
];
/// Where ssh's host keys lie, which a cloud image has none of.
const SSH: &str = "etc/ssh";
const HOSTS: &str = "127.0.0.1\tlocalhost\n::1\t\tlocalhost ip6-localhost ip6-loopback\nff02::1\t\tip6-allnodes\nff02::2\t\tip6-allrouters\n";

/// One system that is being made.
struct System<'a>(&'a Path);

/// Does all of it.
pub async fn mend(
    rootfs: &Path,
    options: &Options,
    keys: &Keys,
    said: &(dyn Fn(&str) + Send + Sync),
) -> io::Result<()> {
    let system = System(rootfs);
    system.forget_machine()?;
    system.trust(keys)?;
    system.write("etc/apt/sources.list.d/debian.sources", 0o644, sources(options))?;
    for archive in ["debian", "debian-security"] {
        let mirror = format!("https://deb.debian.org/{archive}\n");
        system.write(&format!("{MIRRORS}/{archive}.list"), 0o644, mirror)?;
    }
    system.stand_in()?;
    system.match_cards_by_address()?;
    system.write("etc/netplan/90-default.yaml", 0o600, include_str!("files/netplan-default.yaml"))?;
    system.write(CHRONY, 0o644, include_str!("files/chrony.conf"))?;
    system.write(&format!("{FOLDER}/chronyd"), 0o755, include_str!("files/chronyd.sh"))?;
    system.write("etc/fusionlab-sim/README", 0o644, include_str!("files/README"))?;
    tools::inside(rootfs, &["update-ca-certificates"], said).await?;
    if options.disk {
        let join = include_str!("files/join.sh");
        let join = join.replace("@world@", &INTERNET.to_string()).replace("@port@", &PORT.to_string());
        system.write(&format!("{FOLDER}/join"), 0o755, &join)?;
        system.write(JOIN, 0o644, include_str!("files/join.service"))?;
        tools::inside(rootfs, &["systemctl", "enable", "fusionlab-sim-join"], said).await?;
    }
    // As in a cloud image, whose networks are netplan's.
    tools::inside(rootfs, &["systemctl", "enable", "systemd-networkd", "systemd-resolved"], said).await?;
    system.forget_logs()
}

/// Debian's repositories as its cloud images name them: by way of a list of mirrors, and with backports. The simulated
/// internet answers for all of them.
fn sources(options: &Options) -> String {
    let suite = options.suite;
    let part = |list: &str, suites: &str| {
        format!(
            "Types: deb deb-src\nURIs: mirror+file:///{MIRRORS}/{list}.list\nSuites: {suites}\nComponents: main\n\
             Signed-By: /{KEYRING}.gpg\n"
        )
    };
    let debian = part("debian", &format!("{suite} {suite}-updates {suite}-backports"));
    let security = part("debian-security", &format!("{suite}-security"));
    format!("{debian}\n{security}")
}

impl System<'_> {
    /// Returns the place of a path of the system. No part of it may be a link: it would lead out of the system.
    fn at(&self, path: &str) -> io::Result<PathBuf> {
        let mut at = self.0.to_owned();
        for part in path.split('/') {
            if at.is_symlink() {
                return Err(io::Error::other(format!("{} is a link", at.display())));
            }
            at.push(part);
        }
        Ok(at)
    }

    fn write(&self, path: &str, mode: u32, content: impl AsRef<[u8]>) -> io::Result<()> {
        let path = self.at(path)?;
        files::write(&path, content)?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode))
    }

    fn link(&self, path: &str, to: &str) -> io::Result<()> {
        let path = self.at(path)?;
        if let Some(folder) = path.parent() {
            files::make_folder(folder)?;
        }
        files::remove(&path)?;
        symlink(to, &path)
    }

    /// Removes what is one machine's own, and the building computer's name and name servers.
    fn forget_machine(&self) -> io::Result<()> {
        for path in OF_ONE_MACHINE {
            files::remove(&self.at(path)?)?;
        }
        let is_key = |path: &PathBuf| {
            path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("ssh_host_"))
        };
        let keys = files::entries(&self.at(SSH)?);
        keys.iter().filter(|path| is_key(path)).try_for_each(|path| files::remove(path))?;
        // Empty, not absent: absent means a first boot, which enables units anew.
        self.write("etc/machine-id", 0o444, "")?;
        self.write("etc/hosts", 0o644, HOSTS)?;
        self.link("etc/resolv.conf", "../run/systemd/resolve/stub-resolv.conf")
    }

    /// Has the system believe the simulated internet, and no repository of the real one.
    fn trust(&self, keys: &Keys) -> io::Result<()> {
        for folder in KEYRINGS {
            let entries = files::entries(&self.at(folder)?);
            let is_debians = |path: &PathBuf| path.to_string_lossy().contains("/debian-archive-");
            entries.iter().filter(|path| is_debians(path)).try_for_each(|path| files::remove(path))?;
        }
        for kind in ["gpg", "pgp"] {
            self.write(&format!("{KEYRING}.{kind}"), 0o644, keys.archive.public())?;
        }
        // For sources that name no key.
        self.write("etc/apt/trusted.gpg.d/fusionlab-sim.asc", 0o644, keys.archive.public_armored())?;
        self.write(AUTHORITY, 0o644, keys.certificate())
    }

    /// Makes room for this program, which a guest's start mounts, and its names that are no package's.
    fn stand_in(&self) -> io::Result<()> {
        self.write(agent::PROGRAM.trim_start_matches('/'), 0o755, "")?;
        for (path, entry) in packages::image_links() {
            let path = path.trim_start_matches('/');
            match entry {
                packages::Entry::Link(to) => self.link(path, &to)?,
                packages::Entry::File { mode, content } => self.write(path, mode, content)?,
            }
        }
        Ok(())
    }

    /// Puts a script in front of netplan's generator.
    fn match_cards_by_address(&self) -> io::Result<()> {
        files::rename(&self.at(GENERATOR)?, &self.at(&format!("{GENERATOR}.distrib"))?)?;
        self.write(GENERATOR, 0o755, include_str!("files/netplan-generate.sh"))
    }

    /// Removes what the work on the system has written since.
    fn forget_logs(&self) -> io::Result<()> {
        files::remove(&self.at("var/cache/ldconfig")?)?;
        files::make_folder(&self.at("var/log/apt")?)?;
        // apt makes what is in it, but its user must be able to read it.
        files::make_folder(&self.at("var/lib/apt/lists/partial")?)
    }
}
