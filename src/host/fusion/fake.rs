//! A Fusion of small shell scripts that write down how they were called, for the drivers' tests.
#![expect(clippy::disallowed_methods, reason = "another program writes the scripts: see `install`")]

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use super::Fusion;
use super::verbs::Deadlines;
use crate::host::files;

/// Installs a script that can be run at once. Another program writes it: what this process has open for writing cannot
/// be run ("text file busy"), and a child that a test beside this one starts just then would have it open, too.
pub fn install(path: &Path, text: &str) {
    let (plain, copy) = (path.with_extension("text"), path.with_extension("copy"));
    files::write_atomic(&plain, text.as_bytes(), 0o755).unwrap();
    let copied = Command::new("cp").arg(&plain).arg(&copy).status().unwrap();
    assert!(copied.success());
    files::remove_file(&plain).unwrap();
    // One that runs goes on with its own text.
    files::rename(&copy, path).unwrap();
}

/// A folder laid out like a Mac's root; removed when dropped.
pub struct Fake {
    root: TempDir,
}

impl Fake {
    pub fn new() -> Self {
        let fake = Self { root: tempfile::tempdir().unwrap() };
        files::create_dir(&fake.fusion().program("")).unwrap();
        files::create_dir(&fake.fusion().preferences()).unwrap();
        fake
    }

    pub fn root(&self) -> std::path::PathBuf {
        files::canonicalize(self.root.path()).unwrap()
    }

    pub fn fusion(&self) -> Fusion {
        super::tests::fusion(&self.root())
    }

    /// Limits of tests: plenty, but for what is there to run out.
    pub fn deadlines(&self) -> Deadlines {
        let plenty = Duration::from_secs(10);
        let soon = Duration::from_millis(300);
        Deadlines {
            fusion_query: plenty,
            fusion_address: soon,
            vm_start: plenty,
            vm_stop_soft: plenty,
            vm_stop_hard: plenty,
            vm_clone: plenty,
            vm_unlock: soon,
        }
    }

    /// Installs a program; its script finds `$FOLDER` to keep things in, and `$FOLDER/fault` if one is set.
    pub fn program(&self, name: &str, script: &str) {
        let folder = self.root();
        let text = format!(
            "#!/bin/sh\nFOLDER='{}'\n{{ printf '{name}'; for arg in \"$@\"; do printf '|%s' \"$arg\"; done; echo; }} >> \
\"$FOLDER/calls\"\n{script}\n",
            folder.display()
        );
        install(&self.fusion().program(name), &text);
    }

    pub fn fault(&self, name: &str) {
        files::write_atomic(&self.root().join("fault"), name.as_bytes(), 0o644).unwrap();
    }

    /// Returns each call as `program|argument|…`, but for those with one of these words.
    pub fn orders(&self, except: &[&str]) -> Vec<String> {
        let text = files::read_text(&self.root().join("calls")).unwrap_or_default();
        let wanted = |line: &&str| !line.split('|').any(|word| except.contains(&word));
        text.lines().filter(wanted).map(str::to_owned).collect()
    }

    pub fn write(&self, path: &Path, text: &str) {
        files::create_dir(path.parent().unwrap()).unwrap();
        files::write_atomic(path, text.as_bytes(), 0o644).unwrap();
    }
}
