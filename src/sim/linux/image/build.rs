//! Builds the image: packages, mends, perhaps a disk; in a folder of its own that gets its name when all is there.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use super::{DISK, FORMAT, GuestImage, MANIFEST, Manifest, Options, disk, find, key, tools, traps};
use crate::host::files::sha256_file;
use crate::host::{clock, system};
use crate::sim::files;
use crate::sim::linux::internet;
use crate::sim::linux::needs::{self, Need};

/// What a folder that is being filled is called, before the key and the number of the process.
const MAKING: &str = ".making-";
const LOCK: &str = ".lock";
const MMDEBSTRAP: &str = "mmdebstrap";

/// What a build is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Another process builds; this one waits for it.
    Waiting,
    /// A part of the work begins.
    Began(Part),
    /// A line that a program printed.
    Line(String),
}

/// A part of the work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Debian's packages are installed.
    Packages,
    /// The system is made a simulated machine's.
    System,
    /// A disk is made of it.
    Disk,
}

impl Part {
    /// Returns what is done, as a command.
    pub fn text(self) -> &'static str {
        match self {
            Self::Packages => "install Debian's packages",
            Self::System => "make the system a simulated machine's",
            Self::Disk => "make a disk of it",
        }
    }
}

/// Why there is no image.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    #[error("a guest image cannot be built here: {}", needs.iter().map(|need| need.what.as_str()).collect::<Vec<_>>().join(", "))]
    Missing { needs: Vec<Need> },
    #[error("{part}: {source}")]
    Part { part: &'static str, source: io::Error },
}

fn part(part: &'static str) -> impl FnOnce(io::Error) -> BuildError {
    move |source| BuildError::Part { part, source }
}

/// Returns what is missing here for such a build.
pub fn missing(options: &Options) -> Vec<Need> {
    if !cfg!(target_os = "linux") {
        return vec![needs::need("Linux", "run it on Linux, as root")];
    }
    let mut programs = vec![
        (MMDEBSTRAP, "mmdebstrap"),
        ("setpriv", "util-linux"),
        ("unshare", "util-linux"),
        ("chroot", "coreutils"),
    ];
    if options.disk {
        let for_disks = [
            ("mke2fs", "e2fsprogs"),
            ("sfdisk", "fdisk"),
            ("mkfs.vfat", "dosfstools"),
            ("mcopy", "mtools"),
            ("qemu-img", "qemu-utils"),
        ];
        programs.extend(for_disks);
    }
    let mut needs = Vec::new();
    if !system::is_root() {
        needs.push(needs::need("root", "run it as root: the files of a system belong to its users"));
    }
    needs.extend(programs.iter().filter(|(program, _)| needs::find(program).is_none()).map(needs::package));
    let keyrings = ["gpg", "pgp"].map(|kind| format!("/usr/share/keyrings/debian-archive-keyring.{kind}"));
    if !keyrings.iter().any(|path| Path::new(path).exists()) {
        needs.push(needs::need("Debian's archive key", "apt-get install debian-archive-keyring"));
    }
    needs
}

/// Builds the image, unless it is there; one build at a time. What a killed build left is removed.
pub async fn build(
    images: &Path,
    options: &Options,
    said: &(dyn Fn(Progress) + Send + Sync),
) -> Result<GuestImage, BuildError> {
    let look = || find(images, options).map_err(part("look for the image"));
    if let Some(image) = look()? {
        return Ok(image);
    }
    let needs = missing(options);
    if !needs.is_empty() {
        return Err(BuildError::Missing { needs });
    }
    let _lock = alone(images, said).await.map_err(part("lock the folder of images"))?;
    if let Some(image) = look()? {
        return Ok(image);
    }
    sweep(images).map_err(part("remove what a killed build left"))?;
    let making = Making::new(images, options).map_err(part("make a folder"))?;
    making.fill(options, said).await?;
    making.finish(images, options)
}

/// Waits until nobody else builds here.
async fn alone(images: &Path, said: &(dyn Fn(Progress) + Send + Sync)) -> io::Result<std::fs::File> {
    files::make_folder(images)?;
    let path = images.join(LOCK);
    if let Some(lock) = files::try_lock(&path) {
        return Ok(lock);
    }
    said(Progress::Waiting);
    tokio::task::spawn_blocking(move || files::lock(&path)).await.map_err(io::Error::other)?
}

/// Removes folders of builds that were killed; the caller holds the lock.
fn sweep(images: &Path) -> io::Result<()> {
    let is_left =
        |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(MAKING));
    files::entries(images).iter().filter(|path| is_left(path)).try_for_each(|path| files::remove(path))
}

/// A folder that becomes an image.
struct Making {
    folder: PathBuf,
    began: u64,
}

impl Making {
    fn new(images: &Path, options: &Options) -> io::Result<Self> {
        let folder = images.join(format!("{MAKING}{}-{}", key(options), std::process::id()));
        files::make_folder(&folder)?;
        Ok(Self { folder, began: clock::now_ms() })
    }

    fn rootfs(&self) -> PathBuf {
        self.folder.join("rootfs")
    }

    async fn fill(
        &self,
        options: &Options,
        said: &(dyn Fn(Progress) + Send + Sync),
    ) -> Result<(), BuildError> {
        let line = |text: &str| said(Progress::Line(text.to_owned()));
        let begin = |part: Part| {
            said(Progress::Began(part));
            part.text()
        };
        let name = begin(Part::Packages);
        self.install(options, &line).await.map_err(part(name))?;
        let name = begin(Part::System);
        let keys = internet::make_keys(&self.folder.join("internet")).map_err(part(name))?;
        traps::mend(&self.rootfs(), options, &keys, &line).await.map_err(part(name))?;
        if options.disk {
            let name = begin(Part::Disk);
            disk::build_disk(&self.rootfs(), &self.folder.join(DISK)).await.map_err(part(name))?;
        }
        Ok(())
    }

    /// Has mmdebstrap install the packages, which it checks against Debian's key.
    async fn install(&self, options: &Options, line: &(dyn Fn(&str) + Send + Sync)) -> io::Result<()> {
        let rootfs = self.rootfs();
        let include = format!("--include={}", options.packages().join(","));
        let mut argv = vec![
            MMDEBSTRAP,
            "--mode=root",
            "--format=directory",
            "--variant=minbase",
            "--aptopt=Acquire::Languages \"none\"",
            "--dpkgopt=path-exclude=/usr/share/man/*",
            "--dpkgopt=path-exclude=/usr/share/doc/*",
            &include,
            options.suite.name(),
            tools::utf8(&rootfs)?,
        ];
        argv.extend(options.mirror.as_deref());
        tools::run(&argv, &[("TMPDIR", &self.folder)], line).await
    }

    /// Writes down what it is, and gives it its name.
    fn finish(self, images: &Path, options: &Options) -> Result<GuestImage, BuildError> {
        let name = "write down what the image is";
        let key = key(options);
        let packages = installed(&self.rootfs()).map_err(part(name))?;
        let disk = options.disk.then(|| sha256_file(&self.folder.join(DISK)));
        let disk_digest = disk.transpose().map_err(|error| part(name)(io::Error::other(error)))?;
        let manifest = Manifest {
            format: FORMAT,
            key: key.clone(),
            suite: options.suite,
            arch: std::env::consts::ARCH.to_owned(),
            disk: options.disk,
            disk_digest,
            build_ms: clock::now_ms().saturating_sub(self.began),
            rootfs_bytes: size(&self.rootfs()),
            packages,
        };
        let text = serde_json::to_string_pretty(&manifest).map_err(|error| part(name)(error.into()))?;
        files::write(&self.folder.join(MANIFEST), text + "\n").map_err(part(name))?;
        let folder = images.join(&key);
        files::rename(&self.folder, &folder).map_err(part(name))?;
        Ok(GuestImage { folder, key, manifest })
    }
}

/// Nothing is left of a build that failed; after it got its name, nothing is under the old one.
impl Drop for Making {
    fn drop(&mut self) {
        // What cannot be removed now is removed by the next build.
        let _ = files::remove(&self.folder);
    }
}

/// Reads package → version off dpkg's own file.
fn installed(rootfs: &Path) -> io::Result<BTreeMap<String, String>> {
    let status = files::read(&rootfs.join("var/lib/dpkg/status"))?.unwrap_or_default();
    let field = |paragraph: &str, name: &str| {
        paragraph.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": ")).map(str::to_owned)
    };
    let all =
        status.split("\n\n").filter_map(|text| Some((field(text, "Package")?, field(text, "Version")?)));
    Ok(all.collect())
}

/// Adds up the sizes of all files in a folder.
fn size(folder: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(folder) else { return 0 };
    let sizes = entries.flatten().map(|entry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => size(&entry.path()),
        Ok(metadata) => metadata.len(),
        Err(_) => 0,
    });
    sizes.sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_killed_builds_folder_goes_and_an_image_stays() {
        let images = tempfile::tempdir().unwrap();
        let at = |name: &str| images.path().join(name);
        files::write(&at(".making-0123456789ab-77/rootfs/etc/passwd"), "").unwrap();
        files::write(&at("0123456789ab/image.json"), "").unwrap();
        sweep(images.path()).unwrap();
        assert!(!at(".making-0123456789ab-77").exists() && at("0123456789ab/image.json").exists());
    }

    #[test]
    fn what_dpkg_has_installed_is_written_down() {
        let rootfs = tempfile::tempdir().unwrap();
        let status =
            "Package: nginx\nStatus: install ok installed\nVersion: 1.26.3-3\n\nPackage: jq\nVersion: 1.7\n";
        files::write(&rootfs.path().join("var/lib/dpkg/status"), status).unwrap();
        let installed = installed(rootfs.path()).unwrap();
        assert_eq!(installed["nginx"], "1.26.3-3");
        assert_eq!(installed.len(), 2);
    }

    #[tokio::test]
    async fn an_image_that_is_there_is_not_built_again() {
        let images = tempfile::tempdir().unwrap();
        let options = Options::default();
        let folder = images.path().join(key(&options));
        let manifest = Manifest {
            format: FORMAT,
            key: key(&options),
            suite: options.suite,
            arch: "x86_64".into(),
            disk: false,
            disk_digest: None,
            build_ms: 65_000,
            rootfs_bytes: 1,
            packages: BTreeMap::new(),
        };
        files::write(&folder.join(MANIFEST), serde_json::to_string(&manifest).unwrap()).unwrap();
        let told = |progress| panic!("nothing is to be done, and not {progress:?}");
        let image = build(images.path(), &options, &told).await.unwrap();
        assert_eq!((image.folder, image.manifest), (folder.clone(), manifest));
        files::write(&folder.join(MANIFEST), "{\"format\": 9}").unwrap();
        let refused = build(images.path(), &options, &told).await.unwrap_err().to_string();
        assert!(refused.contains("fusionlab sim image build"), "{refused}");
    }
}
