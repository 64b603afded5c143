//! The lab's entries in the user's kubeconfig: put in on wish, kept up to date by `up`, taken out by `destroy`.
//!
//! `labs/<lab>/kubeconfig-merged.json` says which files have them. It is written before the first of them is, so that a
//! run that is cut short has left nothing behind that nobody knows of.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::formats::kubeconfig::{self, Edited, Owner};
use crate::host::kubeconfig::{self as kubeconfigs, Locked};
use crate::host::{HostError, clock, files};
use crate::lab::paths::{Home, LabDir};

use crate::engine::context::Engine;
use crate::engine::error::Result;
use crate::engine::home::records::{self, Versioned};

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    version: u32,
    files: Vec<PathBuf>,
}

impl Versioned for Record {
    const VERSION: u32 = 1;
    const WHAT: &'static str = "a record of merged kubeconfigs";
}

/// One lab's way into users' kubeconfigs.
pub struct Merger {
    dir: LabDir,
    owner: Owner,
    /// How long another program's lock is waited for (`Limits::kubeconfig_lock`).
    limit: Duration,
}

/// A file that was looked at, and what was done to it.
#[derive(Debug)]
pub struct Touched {
    pub file: PathBuf,
    pub edited: Edited,
}

impl Merger {
    pub fn new(home: &Home, lab: &str, limit: Duration) -> Self {
        let owner = Owner { lab: lab.to_owned(), home: home.0.display().to_string() };
        Self { dir: home.lab(lab), owner, limit }
    }

    pub fn of(engine: &Engine) -> Self {
        Self::new(&engine.home, &engine.lab.name, engine.lab.limits.kubeconfig_lock)
    }

    /// Returns the files that have the lab's entries, as far as we know.
    pub fn merged(&self) -> Result<Vec<PathBuf>> {
        let record: Option<Record> = records::read(&self.dir.merged_kubeconfigs())?;
        Ok(record.map(|record| record.files).unwrap_or_default())
    }

    /// Puts the entries of the lab's own kubeconfig into a file, and makes its context the current one if there is none
    /// or that is wished.
    ///
    /// # Errors
    /// [`HostError::Kubeconfig`] if the file is left as it is.
    pub async fn merge(&self, file: &Path, select: bool) -> Result<Touched> {
        let own = files::read_text(&self.dir.kubeconfig())?;
        let mut known = self.merged()?;
        if !known.iter().any(|path| path == file) {
            known.push(file.to_owned());
            self.remember(known)?;
        }
        let merge = |before: Option<&str>| Some(kubeconfig::merge(before, &own, &self.owner, select));
        let touched = self.edit(file, merge).await?;
        Ok(touched.expect("a file that is not there is made"))
    }

    /// Takes the lab's entries out of every file that has them, and out of one more.
    pub async fn remove(&self, besides: Option<&Path>) -> Result<Vec<Touched>> {
        let known = self.merged()?;
        let besides = besides.filter(|path| !known.iter().any(|other| other == path)).map(Path::to_owned);
        let mut touched = Vec::new();
        for file in known.iter().cloned().chain(besides) {
            if !files::exists(&file) {
                kubeconfigs::clear(&file)?;
                continue;
            }
            let remove = |before: Option<&str>| before.map(|text| kubeconfig::remove(text, &self.owner));
            touched.extend(self.edit(&file, remove).await?);
        }
        files::remove_file(&self.dir.merged_kubeconfigs())?;
        Ok(touched)
    }

    /// Edits a file as it is read, and once more where somebody who does not ask for its lock wrote to it meanwhile. None if
    /// there is nothing to edit.
    async fn edit(
        &self,
        file: &Path,
        edit: impl Fn(Option<&str>) -> Option<Result<Edited, kubeconfig::Refusal>>,
    ) -> Result<Option<Touched>> {
        let path = || file.to_owned();
        let locked = Locked::new(file, self.limit).await?;
        let started = clock::monotonic();
        loop {
            let before = locked.read()?;
            let Some(edited) = edit(before.as_deref()) else { return Ok(None) };
            let edited = edited.map_err(|refusal| HostError::Kubeconfig { path: path(), refusal })?;
            if edited.deeds.is_empty() || locked.replace(before.as_deref(), &edited.text)? {
                return Ok(Some(Touched { file: path(), edited }));
            }
            if started.elapsed() >= self.limit {
                let reason = "somebody else writes to it again and again".to_owned();
                return Err(HostError::Content { path: path(), reason }.into());
            }
        }
    }

    fn remember(&self, files: Vec<PathBuf>) -> Result<()> {
        let record = Record { version: Record::VERSION, files };
        records::write(&self.dir.merged_kubeconfigs(), &record, files::PUBLIC_FILE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: &str = r#"{"apiVersion": "v1", "kind": "Config", "current-context": "lab",
        "clusters": [{"name": "lab", "cluster": {"server": "https://a:6443"}}],
        "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": "lab-admin"}}],
        "users": [{"name": "lab-admin", "user": {}}]}"#;

    struct Desk {
        folder: tempfile::TempDir,
        merger: Merger,
    }

    fn desk() -> Desk {
        let folder = tempfile::tempdir().unwrap();
        let home = Home(folder.path().join("home"));
        let merger = Merger::new(&home, "lab", Duration::ZERO);
        files::create_dir(merger.dir.root()).unwrap();
        files::write_atomic(&merger.dir.kubeconfig(), OWN.as_bytes(), files::PRIVATE_FILE).unwrap();
        Desk { folder, merger }
    }

    #[tokio::test]
    async fn what_was_merged_is_known_and_taken_out_of_every_file() {
        let Desk { folder, merger } = desk();
        let [one, other] = ["one", "other"].map(|name| folder.path().join(name));
        files::write_atomic(&other, b"kind: Config\n", 0o600).unwrap();
        for file in [&one, &other, &one] {
            merger.merge(file, false).await.unwrap();
        }
        assert_eq!(merger.merged().unwrap(), [one.clone(), other.clone()]);
        let touched = merger.remove(None).await.unwrap();
        assert_eq!(touched.len(), 2);
        assert!(!files::read_text(&one).unwrap().contains("fusionlab"));
        assert_eq!(merger.merged().unwrap(), Vec::<PathBuf>::new());
    }

    #[tokio::test]
    async fn a_file_that_was_not_merged_into_is_looked_at_on_wish_and_one_that_is_gone_is_fine() {
        let Desk { folder, merger } = desk();
        let [one, other] = ["one", "other"].map(|name| folder.path().join(name));
        merger.merge(&one, false).await.unwrap();
        files::remove_file(&merger.dir.merged_kubeconfigs()).unwrap();
        merger.merge(&other, false).await.unwrap();
        files::remove_file(&other).unwrap();
        let touched = merger.remove(Some(&one)).await.unwrap();
        assert_eq!((touched.len(), touched[0].file == one), (1, true));
        assert_eq!(touched[0].edited.deeds.len(), 4);
    }

    #[tokio::test]
    async fn what_a_killed_merge_was_writing_goes_with_the_lab_whether_it_came_to_a_file_or_not() {
        let Desk { folder, merger } = desk();
        let file = folder.path().join("kube/config");
        merger.remember(vec![file.clone()]).unwrap();
        merger.remove(None).await.unwrap();
        assert!(!files::exists(files::parent(&file)), "nothing is made");
        let half = folder.path().join("kube/.fusionlab-Ab3dE6");
        files::create_dir(files::parent(&file)).unwrap();
        for is_there in [false, true] {
            files::write_atomic(&half, b"", 0o600).unwrap();
            if is_there {
                files::write_atomic(&file, b"kind: Config\n", 0o600).unwrap();
            }
            merger.remember(vec![file.clone()]).unwrap();
            merger.remove(None).await.unwrap();
            assert_eq!((files::exists(&half), files::exists(&file)), (false, is_there));
        }
    }

    #[tokio::test]
    async fn a_file_that_is_refused_is_as_it_was() {
        let Desk { folder, merger } = desk();
        let file = folder.path().join("config");
        files::write_atomic(&file, b"clusters: [", 0o600).unwrap();
        let refused = merger.merge(&file, false).await.unwrap_err();
        assert!(refused.to_string().contains("not YAML"), "{refused}");
        assert_eq!(files::read(&file).unwrap(), b"clusters: [");
        assert!(merger.remove(None).await.is_err(), "nothing is forgotten while it may be there");
        assert_eq!(merger.merged().unwrap(), [file]);
    }
}
