//! Conversions of real images, judged by qemu-img: `check` finds no fault and `compare` no other byte.
//!
//! The images are made of a Debian system that is built of packages once, by a script that is its recipe, and kept in
//! the target folder.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use sha2::{Digest, Sha256};

use crate::support::session::{Ended, Session};

/// With this variable set to 1 the programs are asked for, and must be there.
const REQUIRED: &str = "FUSIONLAB_TEST_TOOLS";
const PROGRAMS: [&str; 4] = ["qemu-img", "mmdebstrap", "mke2fs", "sfdisk"];
/// Makes `$1`, a disk with a partition table and a Debian system in its one partition, in the folder `$2`. Its size is no
/// multiple of a grain or a cluster, and a third of it are holes.
const RECIPE: &str = r#"
set -eu
sectors=$((460 * 2048 + 77)) first=2048
mmdebstrap --quiet --variant=minbase --dpkgopt='path-exclude=/usr/share/doc/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' --dpkgopt='path-exclude=/usr/share/man/*' \
    --include=systemd-sysv,openssh-client bookworm "$2/root"
truncate -s $((sectors * 512)) "$1"
printf 'label: gpt\nstart=%s, type=linux\n' "$first" | sfdisk --quiet "$1"
mke2fs -q -t ext4 -F -L root -d "$2/root" -E "offset=$((first * 512))" "$1" 410M
"#;

/// Returns the Debian system's disk; none where it cannot be made. One process makes it, others wait.
fn system() -> Option<&'static Path> {
    static DISK: OnceLock<Option<PathBuf>> = OnceLock::new();
    DISK.get_or_init(|| {
        // SAFETY: geteuid takes nothing and cannot fail.
        let is_root = unsafe { libc::geteuid() } == 0;
        if std::env::var(REQUIRED).as_deref() != Ok("1") || !is_root {
            eprintln!("skipped: it takes root and {REQUIRED}=1");
            return None;
        }
        let there = |program: &&str| {
            ["/usr/bin", "/usr/sbin", "/sbin"].iter().any(|folder| Path::new(folder).join(program).exists())
        };
        let missing: Vec<_> = PROGRAMS.iter().filter(|program| !there(program)).collect();
        assert!(missing.is_empty(), "{missing:?} are missing, and {REQUIRED}=1 is set");
        Some(build())
    })
    .as_deref()
}

fn build() -> PathBuf {
    let key = hex::encode(&Sha256::digest(RECIPE)[..6]);
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("images");
    let disk = folder.join(format!("debian-{key}.raw"));
    fs::create_dir_all(&folder).expect("the target folder can be written");
    let lock = fs::File::create(folder.join("lock")).expect("the target folder can be written");
    lock.lock().expect("the kernel gives the lock");
    if disk.exists() {
        return disk;
    }
    let work = tempfile::tempdir_in(&folder).expect("the target folder can be written");
    let part = work.path().join("disk");
    let made = Command::new("sh").args(["-c", RECIPE, "sh"]).arg(&part).arg(work.path()).status();
    assert!(made.expect("sh runs").success(), "the Debian system can be built of packages");
    fs::rename(part, &disk).expect("both are in one folder");
    disk
}

#[track_caller]
fn qemu_img(arguments: &[&str], folder: &Path) -> String {
    let output =
        Command::new("qemu-img").args(arguments).current_dir(folder).output().expect("qemu-img runs");
    let words = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "qemu-img {arguments:?}: {words}");
    words.into_owned()
}

fn convert(session: &Session, arguments: &[&str]) -> Ended {
    session.clone().args(["image", "convert", "--quiet"]).args(arguments).run()
}

/// Returns the names in the session's folder.
fn left(session: &Session) -> Vec<String> {
    let entries = fs::read_dir(session.work()).expect("the folder is there");
    let mut names: Vec<String> =
        entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// Converts a copy of the system that qemu-img made with these options, and asks qemu-img whether it is the same.
#[track_caller]
fn agrees(options: &[&str], format: &str) {
    let Some(system) = system() else { return };
    let (session, raw) = (Session::new(), system.to_str().expect("a plain path"));
    let work = session.work();
    qemu_img(&[&["convert", "-f", "raw"], options, &[raw, "image"]].concat(), &work);
    convert(&session, &["image", "disk.vmdk", "--format", format]).exits(0);
    let compared = qemu_img(&["compare", "-f", "raw", "-F", "vmdk", raw, "disk.vmdk"], &work);
    assert!(compared.contains("Images are identical"), "{options:?}: {compared}");
    if format == "sparse" {
        qemu_img(&["check", "-f", "vmdk", "disk.vmdk"], &work);
    }
    let described = qemu_img(&["info", "disk.vmdk"], &work);
    assert!(described.contains(if format == "sparse" { "monolithicSparse" } else { "monolithicFlat" }));
}

#[test]
fn a_compressed_image_as_clouds_publish_it() {
    agrees(&["-c", "-O", "qcow2"], "sparse");
}

#[test]
fn an_image_that_is_not_compressed_to_a_flat_disk() {
    agrees(&["-O", "qcow2", "-o", "cluster_size=2M"], "flat");
}

#[test]
fn an_image_of_version_2() {
    agrees(&["-c", "-O", "qcow2", "-o", "compat=0.10"], "sparse");
}

#[test]
fn large_clusters_compressed_by_zlib() {
    agrees(&["-c", "-O", "qcow2", "-o", "cluster_size=2M"], "sparse");
}

#[test]
fn small_clusters_compressed_by_zstd() {
    agrees(&["-c", "-O", "qcow2", "-o", "compression_type=zstd"], "sparse");
}

#[test]
fn large_clusters_compressed_by_zstd_to_a_flat_disk() {
    agrees(&["-c", "-O", "qcow2", "-o", "cluster_size=2M,compression_type=zstd"], "flat");
}

#[test]
fn a_raw_disk() {
    agrees(&["-O", "raw"], "sparse");
}

#[test]
fn vmdks_that_qemu_made() {
    agrees(&["-O", "vmdk", "-o", "subformat=monolithicSparse"], "sparse");
    agrees(&["-O", "vmdk", "-o", "subformat=streamOptimized"], "sparse");
}

#[test]
fn a_flat_vmdk_that_qemu_made() {
    let Some(system) = system() else { return };
    let (session, raw) = (Session::new(), system.to_str().expect("a plain path"));
    let work = session.work();
    let options = ["convert", "-f", "raw", "-O", "vmdk", "-o", "subformat=monolithicFlat"];
    qemu_img(&[&options[..], &[raw, "theirs.vmdk"]].concat(), &work);
    convert(&session, &["theirs.vmdk", "ours.vmdk"]).exits(0);
    qemu_img(&["compare", "-f", "raw", "-F", "vmdk", raw, "ours.vmdk"], &work);
    // Whoever made a descriptor may not choose what else of this machine is read.
    let descriptor = fs::read_to_string(work.join("theirs.vmdk")).expect("it is a text");
    for name in ["/etc/passwd", "../theirs-flat.vmdk", ".."] {
        fs::write(work.join("evil.vmdk"), descriptor.replace("theirs-flat.vmdk", name)).expect("writable");
        let ended = convert(&session, &["evil.vmdk", "no.vmdk"]).exits(4);
        assert!(ended.stderr.contains("image-unsupported"), "{ended:?}");
    }
}

#[test]
fn an_empty_disk_of_2_tib_is_instant_and_takes_no_room() {
    if system().is_none() {
        return;
    }
    let session = Session::new();
    qemu_img(&["create", "-q", "-f", "qcow2", "empty", "2T"], &session.work());
    for format in ["sparse", "flat"] {
        let ended = session
            .clone()
            .args(["image", "convert", "empty", &format!("{format}.vmdk"), "--format", format])
            .args(["--output", "json"])
            .run()
            .exits(0);
        let last: serde_json::Value =
            serde_json::from_str(ended.stdout.lines().last().expect("a line")).expect("JSON");
        assert_eq!((&last["capacity"], &last["data_bytes"]), (&(2_u64 << 40).into(), &0.into()));
        assert!(last["file_bytes"].as_u64().expect("a number") < 1 << 20, "{last}");
        let described = qemu_img(&["info", &format!("{format}.vmdk")], &session.work());
        assert!(described.contains("virtual size: 2 TiB"), "{described}");
    }
    // Of the other kind, qemu-img would read all 33 million table entries one by one.
    qemu_img(&["compare", "-f", "qcow2", "-F", "vmdk", "empty", "flat.vmdk"], &session.work());
}

#[test]
fn a_disk_grows_and_never_shrinks_and_overwrites_nothing() {
    let session = small();
    convert(&session, &["image", "grown.vmdk", "--size", "8GiB"]).exits(0);
    let info =
        session.clone().args(["image", "info", "grown.vmdk", "--output", "json"]).run().exits(0).json();
    assert_eq!((&info["virtual_size"], &info["kind"]), (&(8_u64 << 30).into(), &"monolithicSparse".into()));
    assert_eq!(info["extents"][0]["file"], "grown.vmdk");
    assert_eq!(info["not_supported"], serde_json::json!([]));
    let small = convert(&session, &["image", "small.vmdk", "--size", "1M"]).exits(2);
    assert!(small.stderr.contains("image-size"), "{small:?}");
    let again = convert(&session, &["image", "grown.vmdk"]).exits(2);
    assert!(again.stderr.contains("file-exists"), "{again:?}");
    assert_eq!(left(&session), ["grown.vmdk", "image"]);
}

#[test]
fn a_bad_image_is_explained_and_leaves_nothing() {
    let session = small();
    let good = fs::read(session.work().join("image")).expect("it was written");
    let with = |at: usize, bytes: &[u8]| {
        let mut image = good.clone();
        image[at..at + bytes.len()].copy_from_slice(bytes);
        image
    };
    // The simulated image's first table is in cluster 3, its second in cluster 4, compressed data in cluster 6.
    let cluster = 65_536;
    let cases = [
        ("image-encrypted", with(32, &1_u32.to_be_bytes())),
        ("image-backed", with(8, &[&512_u64.to_be_bytes()[..], &4_u32.to_be_bytes()].concat())),
        ("image-external-data", with(79, &[4])),
        ("image-unsupported", with(78, &[1])),
        ("image-unsupported", with(4, &9_u32.to_be_bytes())),
        ("image-corrupt", with(79, &[2])),
        ("image-corrupt", with(6 * cluster, &[0xff; 64])),
        ("image-corrupt", with(3 * cluster, &[0x40, 0, 0, 0, 0, 1, 2, 3])),
        ("image-truncated", good[..5 * cluster].to_vec()),
        ("image-truncated", good[..50].to_vec()),
        ("image-not-a-disk", b"<html>404 Not Found</html>".repeat(99)),
        ("image-not-a-disk", [b"\xfd7zXZ\0", &good[..]].concat()),
    ];
    for (id, image) in cases {
        for format in ["sparse", "flat"] {
            fs::write(session.work().join("bad"), &image).expect("writable");
            let ended = convert(&session, &["bad", "disk.vmdk", "--format", format]).exits(4);
            assert!(ended.stderr.contains(id), "{id}: {ended:?}");
            assert_eq!(left(&session), ["bad", "image"], "{id}");
        }
    }
    let encrypted = with(32, &1_u32.to_be_bytes());
    let info = session.file("bad", encrypted).args(["image", "info", "bad"]).run().exits(0);
    assert!(info.stdout.contains("not read") && info.stdout.contains("the image is encrypted"), "{info:?}");
}

#[test]
fn a_conversion_that_was_killed_is_forgotten_by_the_next() {
    let Some(system) = system() else { return };
    for format in ["sparse", "flat"] {
        let session = Session::new();
        let work = session.work();
        let part = work.join(if format == "sparse" { "disk.vmdk.part" } else { "disk-flat.vmdk.part" });
        let arguments = ["image", "convert", "--quiet", system.to_str().expect("plain"), "disk.vmdk"];
        let session = session.args(arguments).args(["--format", format]);
        let mut running = session.clone().start();
        running.wait_until(|| fs::metadata(&part).is_ok_and(|facts| facts.len() > 1 << 20));
        // Another one does not get in its way, nor is it let in.
        let second = session.clone().run();
        running.signal("KILL");
        let first = running.wait();
        if first.status.code().is_none() {
            let words = "is being written by another process";
            assert!(second.status.code() == Some(5) && second.stderr.contains(words), "{second:?}");
            assert!(part.exists(), "a killed process cannot tidy up");
            session.run().exits(0);
        }
        let expected: &[&str] =
            if format == "sparse" { &["disk.vmdk"] } else { &["disk-flat.vmdk", "disk.vmdk"] };
        assert_eq!(left(&first.session), expected);
        qemu_img(
            &["compare", "-f", "raw", "-F", "vmdk", system.to_str().expect("plain"), "disk.vmdk"],
            &work,
        );
    }
}

#[test]
fn a_conversion_that_is_stopped_leaves_nothing() {
    let Some(system) = system() else { return };
    let session = Session::new();
    let part = session.work().join("disk.vmdk.part");
    let arguments = ["image", "convert", "--quiet", system.to_str().expect("plain"), "disk.vmdk"];
    let mut running = session.clone().args(arguments).start();
    running.wait_until(|| part.exists());
    running.signal("INT");
    running.wait().exits(130);
    assert!(left(&session).is_empty(), "{:?}", left(&session));
}

#[test]
fn a_seed_is_for_its_owner_alone_and_is_what_cloud_init_reads() {
    use std::os::unix::fs::PermissionsExt;
    let session = Session::new()
        .file("user", "#cloud-config\nhostname: one\n")
        .file("meta", "instance-id: one-1\n")
        .file("network", "version: 2\n");
    let seed = |session: &Session, user: &str, meta: &str| {
        let files =
            ["image", "seed", "--user-data", user, "--meta-data", meta, "--network-config", "network"];
        session.clone().args(files).arg("seed.iso").run()
    };
    let wrong = seed(&session, "meta", "meta").exits(4);
    assert!(wrong.stderr.contains("seed-ignored") && wrong.stderr.contains("#cloud-config"), "{wrong:?}");
    seed(&session, "user", "user").exits(4);
    assert_eq!(left(&session), ["meta", "network", "user"]);
    seed(&session, "user", "meta").exits(0);
    let path = session.work().join("seed.iso");
    assert_eq!(fs::metadata(&path).expect("it is there").permissions().mode() & 0o777, 0o600);
    let files = fusionlab::formats::seed_iso::read(&fs::read(&path).expect("readable")).expect("an ISO");
    assert_eq!(files["user-data"], b"#cloud-config\nhostname: one\n");
    assert_eq!(files.len(), 3);
    seed(&session, "user", "meta").exits(2);
}

/// Returns a session with a small `image`: the simulated Fusion's.
fn small() -> Session {
    let session = Session::new();
    fusionlab::sim::image::write(&session.work().join("image"), fusionlab::sim::image::MODEL)
        .expect("it can be written");
    session
}
