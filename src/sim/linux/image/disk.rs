//! A disk that boots, made of a system's folder: an EFI partition with systemd-boot, and an ext4 file system.
//!
//! Nothing is mounted and no loop device is needed: mkfs.vfat and mtools fill the one, `mke2fs -d` the other.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::host::process::{self, Options};
use crate::sim::files;

const MIB: u64 = 1 << 20;
const SECTOR: u64 = 512;
/// Where the first partition begins, as every partitioning tool has it.
const FIRST: u64 = MIB;
/// Room in the EFI partition besides kernel and initial file system: the boot loader, and a later kernel.
const ESP_ROOM: u64 = 96 * MIB;
/// Room in the root file system, besides a quarter of the content for what ext4 keeps.
const ROOT_ROOM: u64 = 512 * MIB;
/// The end of a GPT disk: the second table.
const TABLE: u64 = MIB;
/// The type of a root partition (<https://uapi-group.org/specifications/specs/discoverable_partitions_specification/>).
#[cfg(not(target_arch = "aarch64"))]
const ROOT_TYPE: &str = "4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709";
#[cfg(target_arch = "aarch64")]
const ROOT_TYPE: &str = "B921B045-1DF0-41C3-AF44-4C6F280D3FAE";
/// The boot loader in the system, and what the firmware looks for on a disk that it does not know.
#[cfg(not(target_arch = "aarch64"))]
const LOADER: (&str, &str) = ("usr/lib/systemd/boot/efi/systemd-bootx64.efi", "BOOTX64.EFI");
#[cfg(target_arch = "aarch64")]
const LOADER: (&str, &str) = ("usr/lib/systemd/boot/efi/systemd-bootaa64.efi", "BOOTAA64.EFI");
/// The first console is the screen, as on Debian's cloud images; the last one is the system's.
const ENTRY: &str = "\
title Debian
linux /debian/vmlinuz
initrd /debian/initrd.img
options root=LABEL=root ro console=tty0 console=ttyS0,115200
";
const LOADER_CONF: &str = "timeout 0\ndefault debian.conf\neditor no\n";
const FSTAB: &str = "LABEL=root / ext4 rw,errors=remount-ro 0 1\n";
/// How long one program may take: seconds here, minutes where somebody else works.
const LIMIT: Duration = Duration::from_secs(600);
/// Bytes that are copied at once; a piece of only zeros stays a hole.
const PIECE: usize = 64 * 1024;

/// Makes a qcow2 disk of a system that has a kernel, its initial file system and systemd-boot. The folder stays as it is.
///
/// # Errors
/// If the system lacks one of these, a program is missing or fails, or the disk cannot be written.
pub async fn build_disk(rootfs: &Path, to: &Path) -> io::Result<()> {
    let parts = Parts::find(rootfs)?;
    let content = content_size(rootfs).await?;
    let layout = Layout::new(size(&parts.kernel)? + size(&parts.initrd)?, content);
    let folder = to.parent().unwrap_or(Path::new("."));
    let work = tempfile::Builder::new().prefix(".disk-").tempdir_in(folder)?;
    let disk = work.path().join("disk.raw");
    make_table(&disk, &layout).await?;
    let esp = make_esp(work.path(), &parts, layout.esp).await?;
    copy_into(&esp, &disk, FIRST)?;
    make_root(rootfs, work.path(), &disk, &layout).await?;
    let made = work.path().join("disk.qcow2");
    run(
        "qemu-img",
        ["convert", "-f", "raw", "-O", "qcow2"].map(Path::new).into_iter().chain([&*disk, &*made]),
    )
    .await?;
    files::rename(&made, to)
}

/// What is booted, as it lies in the system.
struct Parts {
    kernel: PathBuf,
    initrd: PathBuf,
    loader: PathBuf,
}

impl Parts {
    fn find(rootfs: &Path) -> io::Result<Self> {
        let boot = files::entries(&rootfs.join("boot"));
        let newest = |prefix: &str| {
            let named = |path: &&PathBuf| {
                path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(prefix))
            };
            boot.iter().rfind(named).cloned()
        };
        let missing = |what: &str, package: &str| {
            let text = format!("{}: no {what}: the system lacks the package {package}", rootfs.display());
            io::Error::new(io::ErrorKind::NotFound, text)
        };
        let loader = rootfs.join(LOADER.0);
        if !loader.is_file() {
            return Err(missing("boot loader", "systemd-boot-efi"));
        }
        Ok(Self {
            kernel: newest("vmlinuz-").ok_or_else(|| missing("kernel", "linux-image"))?,
            initrd: newest("initrd.img-").ok_or_else(|| missing("initial file system", "initramfs-tools"))?,
            loader,
        })
    }
}

/// Where the partitions are; all in bytes and whole MiB.
#[derive(Debug, PartialEq, Eq)]
struct Layout {
    esp: u64,
    root: u64,
}

impl Layout {
    fn new(boot: u64, content: u64) -> Self {
        let whole = |bytes: u64| bytes.next_multiple_of(MIB);
        Self { esp: whole(boot + ESP_ROOM), root: whole(content + content / 4 + ROOT_ROOM) }
    }

    fn root_start(&self) -> u64 {
        FIRST + self.esp
    }

    fn disk(&self) -> u64 {
        self.root_start() + self.root + TABLE
    }

    /// Returns what sfdisk is told. The root partition is the last, so that it can grow.
    fn table(&self) -> String {
        let [start, esp, root, size] =
            [FIRST, self.esp, self.root_start(), self.root].map(|bytes| bytes / SECTOR);
        format!(
            "label: gpt\nstart={start}, size={esp}, type=uefi, name=esp\n\
             start={root}, size={size}, type={ROOT_TYPE}, name=root\n"
        )
    }
}

/// Returns the bytes that a folder's files take.
async fn content_size(folder: &Path) -> io::Result<u64> {
    let said = run("du", [Path::new("-skx"), folder]).await?;
    let kib: u64 = said
        .split_whitespace()
        .next()
        .and_then(|number| number.parse().ok())
        .ok_or_else(|| io::Error::other(format!("du -skx {}: {said}", folder.display())))?;
    Ok(kib * 1024)
}

async fn make_table(disk: &Path, layout: &Layout) -> io::Result<()> {
    files::create(disk)?.set_len(layout.disk())?;
    run_with("sfdisk", [Path::new("--quiet"), disk], layout.table()).await.map(drop)
}

async fn make_esp(work: &Path, parts: &Parts, bytes: u64) -> io::Result<PathBuf> {
    let esp = work.join("esp.fat");
    files::create(&esp)?.set_len(bytes)?;
    // One sector a cluster: fewer than 65525 clusters would not be FAT32.
    let form = ["-F", "32", "-s", "1", "-n", "ESP"].map(Path::new);
    run("mkfs.vfat", form.into_iter().chain([&*esp])).await?;
    let image = [Path::new("-i"), &esp];
    let folders = ["::EFI", "::EFI/BOOT", "::loader", "::loader/entries", "::debian"].map(Path::new);
    run("mmd", image.into_iter().chain(folders)).await?;
    let (entry, conf) = (work.join("debian.conf"), work.join("loader.conf"));
    files::write(&entry, ENTRY)?;
    files::write(&conf, LOADER_CONF)?;
    let loader = format!("::EFI/BOOT/{}", LOADER.1);
    for (from, to) in [
        (&parts.loader, loader.as_str()),
        (&conf, "::loader/loader.conf"),
        (&entry, "::loader/entries/debian.conf"),
        (&parts.kernel, "::debian/vmlinuz"),
        (&parts.initrd, "::debian/initrd.img"),
    ] {
        run("mcopy", image.into_iter().chain([from, Path::new(to)])).await?;
    }
    Ok(esp)
}

/// Copies a file to a place in another; zeros are left out.
fn copy_into(from: &Path, to: &Path, at: u64) -> io::Result<()> {
    let (mut from, mut to) = (files::open(from, false)?, files::open(to, true)?);
    let mut piece = vec![0; PIECE];
    let mut place = at;
    loop {
        let read = read_piece(&mut from, &mut piece)?;
        if read == 0 {
            return Ok(());
        }
        if piece[..read].iter().any(|byte| *byte != 0) {
            to.seek(SeekFrom::Start(place))?;
            to.write_all(&piece[..read])?;
        }
        place += read as u64;
    }
}

fn read_piece(from: &mut File, piece: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < piece.len() {
        match from.read(&mut piece[filled..])? {
            0 => break,
            read => filled += read,
        }
    }
    Ok(filled)
}

async fn make_root(rootfs: &Path, work: &Path, disk: &Path, layout: &Layout) -> io::Result<()> {
    let (offset, size) = (format!("offset={}", layout.root_start()), format!("{}k", layout.root / 1024));
    let words = ["-q", "-F", "-t", "ext4", "-L", "root", "-E", &offset, "-d"].map(Path::new);
    run("mke2fs", words.into_iter().chain([rootfs, disk, Path::new(&size)])).await?;
    // The folder stays as it is: what only a disk has is written into the file system.
    let fstab = work.join("fstab");
    files::write(&fstab, FSTAB)?;
    let orders = work.join("orders");
    let text = format!(
        "rm /etc/fstab\nwrite {} /etc/fstab\nset_inode_field /etc/fstab uid 0\nset_inode_field /etc/fstab gid 0\n",
        fstab.display()
    );
    files::write(&orders, text)?;
    let mut place = disk.to_owned().into_os_string();
    place.push(format!("?offset={}", layout.root_start()));
    let words = [Path::new("-w"), Path::new("-f"), &orders, Path::new(&place)];
    // debugfs exits with 0 whatever became of its orders.
    run("debugfs", words).await?;
    let written = run("debugfs", [Path::new("-R"), Path::new("cat /etc/fstab"), Path::new(&place)]).await?;
    if written.contains(FSTAB.trim()) {
        return Ok(());
    }
    Err(io::Error::other(format!("debugfs did not write {}'s /etc/fstab", disk.display())))
}

fn size(path: &Path) -> io::Result<u64> {
    files::open(path, false)?.metadata().map(|metadata| metadata.len())
}

async fn run<'a>(program: &str, args: impl IntoIterator<Item = &'a Path>) -> io::Result<String> {
    run_with(program, args, String::new()).await
}

/// Runs a program to its end and returns what it printed.
async fn run_with<'a>(
    program: &str,
    args: impl IntoIterator<Item = &'a Path>,
    input: String,
) -> io::Result<String> {
    let path = crate::sim::linux::needs::find(program).ok_or_else(|| {
        io::Error::new(io::ErrorKind::NotFound, format!("{program} is not installed: it makes the disk"))
    })?;
    let args: Vec<&Path> = args.into_iter().collect();
    // mtools would read the user's settings.
    let env = vec![("MTOOLSRC".into(), "/dev/null".into()), ("MTOOLS_SKIP_CHECK".into(), "1".into())];
    let options = Options { stdin: input.into_bytes(), env, ..Options::limit(LIMIT) };
    let finished = process::run(&path, &args, options).await.map_err(io::Error::other)?;
    if finished.success() {
        return Ok(finished.text());
    }
    Err(io::Error::other(finished.error(&path, &args)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_partition_is_the_last_and_has_room() {
        let layout = Layout::new(30 * MIB + 1, 400 * MIB);
        assert_eq!(layout, Layout { esp: 127 * MIB, root: 1012 * MIB });
        assert_eq!(layout.disk(), 1141 * MIB);
        let table = layout.table();
        assert!(table.contains("start=2048, size=260096, type=uefi"), "{table}");
        assert!(
            table.trim_end().ends_with(&format!("start=262144, size=2072576, type={ROOT_TYPE}, name=root"))
        );
    }

    #[test]
    fn a_system_that_cannot_boot_is_named_with_the_package_that_it_lacks() {
        let folder = tempfile::tempdir().unwrap();
        let lacks = |package: &str| {
            let error = Parts::find(folder.path()).err().unwrap().to_string();
            assert!(error.contains(package), "{error}");
        };
        lacks("systemd-boot-efi");
        files::write(&folder.path().join(LOADER.0), "").unwrap();
        lacks("linux-image");
        files::write(&folder.path().join("boot/vmlinuz-6.9"), "").unwrap();
        lacks("initramfs-tools");
        files::write(&folder.path().join("boot/initrd.img-6.9"), "").unwrap();
        assert!(Parts::find(folder.path()).unwrap().kernel.ends_with("boot/vmlinuz-6.9"));
    }
}
