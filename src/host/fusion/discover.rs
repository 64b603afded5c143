//! Finds VMware Fusion: the app bundle, its version, and the folder that stands for `/` around it.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::Fusion;
use crate::host::{HostError, Result, files, system};

/// The bundle's names, in order of preference (facts/vmrun-vmrest.md §1.1).
const BUNDLES: [&str; 2] = ["VMware Fusion.app", "VMware Fusion Tech Preview.app"];
const INFO: &str = "Contents/Info.plist";
const LIBRARY: &str = "Virtual Machines.localized";

/// The first release whose guests get their addresses from VMware's own DHCP server again
/// (facts/fusion-networking.md §2.5). Calendar releases (`25H2`) come later.
const OLDEST: (u32, u32) = (12, 2);

/// What we read of Info.plist.
#[derive(Deserialize)]
struct Info {
    #[serde(rename = "CFBundleShortVersionString")]
    version: String,
    #[serde(rename = "CFBundleVersion")]
    build: String,
    #[serde(rename = "FusionlabSimulated", default)]
    simulated: bool,
    #[serde(rename = "FusionlabGuests", default)]
    guests: String,
}

/// Finds Fusion at `explicit`, an app bundle or a folder laid out like a Mac's root, or in `/Applications`.
///
/// A release that cannot make our network is refused ([`HostError::OldFusion`]).
pub fn find(explicit: Option<&Path>) -> Result<Fusion> {
    let candidates: Vec<PathBuf> = match explicit {
        Some(path) if path.extension().is_some_and(|extension| extension == "app") => vec![path.to_owned()],
        Some(root) => bundles_in(root).collect(),
        None => bundles_in(Path::new("/")).collect(),
    };
    for app in &candidates {
        if files::exists(&app.join(INFO)) {
            return describe(&files::canonicalize(app)?);
        }
    }
    Err(HostError::NoFusion { searched: candidates })
}

fn bundles_in(root: &Path) -> impl Iterator<Item = PathBuf> {
    BUNDLES.into_iter().map(move |name| root.join("Applications").join(name))
}

fn describe(app: &Path) -> Result<Fusion> {
    let path = app.join(INFO);
    let info: Info = plist::from_bytes(&files::read(&path)?)
        .map_err(|error| HostError::Content { path, reason: error.to_string() })?;
    if let Some(reason) = reason_against(&info.version) {
        return Err(HostError::OldFusion { version: info.version, reason: reason.to_owned() });
    }
    let root = root_of(app);
    let library = if root == Path::new("/") {
        let home = system::home().ok_or_else(|| HostError::Content {
            path: "HOME".into(),
            reason: "the user has no home folder to keep VMs in".to_owned(),
        })?;
        home.join(LIBRARY)
    } else {
        root.join(LIBRARY)
    };
    Ok(Fusion {
        root,
        app: app.to_owned(),
        version: info.version,
        build: info.build,
        simulated: info.simulated,
        guests: info.guests,
        library,
    })
}

/// Where macOS puts other disks.
const VOLUMES: &str = "/Volumes";

/// Returns the folder that holds `Applications`, or `/` for a bundle that stands elsewhere: it is a Mac's own Fusion,
/// whose files are the system's wherever its programs are.
fn root_of(app: &Path) -> PathBuf {
    match app.parent() {
        Some(folder)
            if folder.ends_with("Applications") && !is_users_own(folder) && !is_on_another_disk(folder) =>
        {
            folder.parent().map_or_else(|| "/".into(), Path::to_owned)
        }
        _ => "/".into(),
    }
}

/// `~/Applications` is a place for programs on the Mac's own root, not a root.
fn is_users_own(applications: &Path) -> bool {
    system::home().is_some_and(|home| files::resolved(&home).join("Applications") == applications)
}

/// So is a folder of that name on another disk: what is there works on this Mac's root.
fn is_on_another_disk(applications: &Path) -> bool {
    applications.parent().and_then(Path::parent) == Some(Path::new(VOLUMES))
}

/// Says whether a version is one that VMware has given: `13.6.3`, or by the calendar `25H2`.
pub(super) fn is_known(version: &str) -> bool {
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let calendar = version.split_once('H').is_some_and(|(year, half)| is_number(year) && is_number(half));
    calendar || version.split('.').all(is_number)
}

fn reason_against(version: &str) -> Option<&'static str> {
    let mut numbers = version.split('.').map(str::parse::<u32>);
    // `25H2` and `e.x.p` (a tech preview) have no leading number and are new.
    let Some(Ok(major)) = numbers.next() else { return None };
    let minor = numbers.next().and_then(std::result::Result::ok).unwrap_or(0);
    if (major, minor) >= OLDEST {
        None
    } else if major == OLDEST.0 {
        Some(
            "its networks use Apple's DHCP server, which knows no reservations; 12.2 and later have VMware's own",
        )
    } else {
        Some("it is older than 12.2, the oldest release whose networks fusionlab can set up")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn install(root: &Path, bundle: &str, version: &str, extra: &str) -> PathBuf {
        let app = root.join("Applications").join(bundle);
        files::create_dir(&app.join("Contents")).unwrap();
        let text = format!(
            r#"<?xml version="1.0" encoding="UTF-8"?>
<plist version="1.0"><dict><key>CFBundleShortVersionString</key><string>{version}</string>
<key>CFBundleVersion</key><string>24585314</string>{extra}</dict></plist>"#
        );
        files::write_atomic(&app.join(INFO), text.as_bytes(), 0o644).unwrap();
        app
    }

    #[test]
    fn a_fusion_on_another_disk_is_this_macs_and_a_simulated_one_there_is_not() {
        let root = |path: &str| root_of(Path::new(path));
        assert_eq!(root("/Applications/VMware Fusion.app"), Path::new("/"));
        assert_eq!(root("/Volumes/Ext/Applications/VMware Fusion.app"), Path::new("/"));
        let home = "/Volumes/Ext/fusionlab/sim";
        assert_eq!(root(&format!("{home}/Applications/VMware Fusion.app")), Path::new(home));
    }

    #[test]
    fn a_folder_laid_out_like_a_mac_is_a_root() {
        let root = tempfile::tempdir().unwrap();
        let simulated =
            "<key>FusionlabSimulated</key><true/><key>FusionlabGuests</key><string>nothing runs</string>";
        let app = install(root.path(), "VMware Fusion.app", "13.6.3", simulated);
        let fusion = find(Some(root.path())).unwrap();
        let real = files::canonicalize(root.path()).unwrap();
        assert_eq!(fusion.root, real);
        assert_eq!(fusion.library, real.join(LIBRARY));
        assert_eq!((fusion.version.as_str(), fusion.build.as_str()), ("13.6.3", "24585314"));
        assert!(fusion.simulated && fusion.root != Path::new("/") && fusion.guests == "nothing runs");
        assert_eq!(find(Some(&app)).unwrap(), fusion, "its bundle leads to the same");
    }

    #[test]
    fn a_bundle_elsewhere_belongs_to_the_system() {
        let folder = tempfile::tempdir().unwrap();
        let app = install(folder.path(), "VMware Fusion.app", "25H2", "");
        let moved = folder.path().join("VMware Fusion.app");
        files::rename(&app, &moved).unwrap();
        let fusion = find(Some(&moved)).unwrap();
        assert!(fusion.root == Path::new("/") && !fusion.simulated);
    }

    #[test]
    fn releases_without_a_dhcp_server_of_their_own_are_refused() {
        for (version, fine) in [
            ("11.5.7", false),
            ("12.0.0", false),
            ("12.1.2", false),
            ("12.2.5", true),
            ("13.6.3", true),
            ("25H2", true),
            ("e.x.p", true),
        ] {
            let root = tempfile::tempdir().unwrap();
            install(root.path(), "VMware Fusion Tech Preview.app", version, "");
            let found = find(Some(root.path()));
            assert_eq!(found.is_ok(), fine, "{version}");
            if !fine {
                assert!(matches!(found, Err(HostError::OldFusion { .. })));
            }
        }
    }

    #[test]
    fn what_was_searched_is_said() {
        let root = tempfile::tempdir().unwrap();
        let Err(HostError::NoFusion { searched }) = find(Some(root.path())) else {
            panic!("there is no Fusion in an empty folder");
        };
        assert_eq!(searched.len(), 2);
        assert!(searched[0].ends_with("Applications/VMware Fusion.app"));
    }
}
