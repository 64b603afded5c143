//! What files of this machine tell a helper of a lab: of the lab's folder, of Fusion's networks and of the machines. Each is
//! read for itself, so that what is broken or absent keeps nobody from the rest.

use std::fmt::Display;
use std::path::Path;

use crate::host::fusion::Fusion;
use crate::host::fusion::networks::Networks;
use crate::host::{HostError, files};
use crate::lab::paths::{self, Home, LabDir};
use crate::lab::{Lab, Node};
use crate::stack::support::Piece;

/// Of a file that is longer, the end.
const MOST: u64 = 256 * 1024;
/// Fusion's log of a machine, beside its VMX.
const FUSION_LOG: &str = "vmware.log";

/// What was found, and what was not.
#[derive(Debug, Default)]
pub struct Collected {
    pub pieces: Vec<Piece>,
    pub missing: Vec<Missing>,
}

/// Something that could not be had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    pub what: String,
    pub why: String,
}

impl Collected {
    pub fn add(&mut self, path: impl Into<String>, content: impl Into<Vec<u8>>) {
        self.pieces.push(Piece { path: path.into(), content: content.into() });
    }

    pub fn lacks(&mut self, what: impl Into<String>, why: impl Display) {
        self.missing.push(Missing { what: what.into(), why: why.to_string() });
    }

    /// Adds what was found of something, or why it was not read. That it is not there is no lack.
    fn take<C: Into<Vec<u8>>, E: Display>(&mut self, path: &str, found: Result<Option<C>, E>) {
        match found {
            Ok(Some(content)) => self.add(path, content),
            Ok(None) => {}
            Err(error) => self.lacks(path, error),
        }
    }

    /// Adds a file, or its end.
    fn file(&mut self, path: &str, file: &Path) {
        self.take(path, end_of(file));
    }

    /// Adds what a lab's folder has: its records, and what its runs printed. Neither its identity nor its kubeconfig.
    pub fn lab_folder(&mut self, home: &Home, lab: &str) {
        let dir = home.lab(lab);
        if !files::exists(dir.root()) {
            self.lacks("lab/", "there is no such lab on this Mac: it was never made, or was destroyed");
        }
        for file in [
            dir.journal(),
            dir.network_record(),
            dir.networking_before(),
            dir.drill(),
            dir.resolver_record(),
            dir.merged_kubeconfigs(),
            dir.ssh_config(),
            dir.known_hosts(),
            dir.lab_ca(),
        ] {
            self.file(&format!("lab/{}", files::name_of(&file)), &file);
        }
        self.runs("runs", &dir);
        let other = home.runs(lab);
        self.file("template-builds/journal.jsonl", &other.journal());
        self.runs("template-builds", &other);
    }

    fn runs(&mut self, folder: &str, dir: &LabDir) {
        for run in self.listed(folder, &dir.logs()) {
            for file in self.listed(folder, &run) {
                self.file(&format!("{folder}/{}/{}", files::name_of(&run), files::name_of(&file)), &file);
            }
        }
    }

    fn listed(&mut self, what: &str, folder: &Path) -> Vec<std::path::PathBuf> {
        files::list(folder).unwrap_or_else(|error| {
            self.lacks(format!("{what}/"), error);
            Vec::new()
        })
    }

    /// Adds Fusion's networking file, and what it made of it for the lab's network.
    pub fn networks(&mut self, home: &Home, networks: &Networks, fusion: &Fusion, vmnet: u8) {
        self.take("fusion/networking", networks.read());
        self.take(&format!("fusion/vmnet{vmnet}/dhcpd.conf"), networks.dhcpd_conf(vmnet));
        self.take(&format!("fusion/vmnet{vmnet}/nat.conf"), networks.nat_conf(vmnet));
        self.file(&format!("fusion/vmnet{vmnet}/dhcpd.leases"), &fusion.leases(vmnet));
        self.file(&format!("fusion/vmnet{vmnet}/made.json"), &home.made_network(vmnet));
    }

    /// Adds what lies beside each machine: its VMX, its console, and Fusion's log of it.
    pub fn machines(&mut self, fusion: &Fusion, lab: &Lab) {
        for node in &lab.nodes {
            self.machine(fusion, lab, node);
        }
    }

    fn machine(&mut self, fusion: &Fusion, lab: &Lab, Node { name, .. }: &Node) {
        let bundle = paths::vm_bundle(&fusion.library, &lab.name, name);
        if !files::exists(&bundle) {
            return self.lacks(format!("machines/{name}/"), "there is no such machine in Fusion's library");
        }
        for file in [paths::vmx_of(&bundle), bundle.join(paths::CONSOLE_LOG), bundle.join(FUSION_LOG)] {
            self.file(&format!("machines/{name}/{}", files::name_of(&file)), &file);
        }
    }
}

/// Reads a file, or its last bytes behind a line that says so; none if there is no such file.
fn end_of(file: &Path) -> Result<Option<Vec<u8>>, HostError> {
    if !files::exists(file) {
        return Ok(None);
    }
    let left_out = files::size(file)?.saturating_sub(MOST);
    let end = files::read_end(file, MOST)?;
    if left_out == 0 {
        return Ok(Some(end));
    }
    // From a whole line on: of half of one nobody could tell whether it was a secret.
    let (broken, whole) = end.split_at(end.iter().position(|byte| *byte == b'\n').map_or(0, |at| at + 1));
    let head = format!("[the first {} bytes are left out]\n", left_out + broken.len() as u64);
    Ok(Some([head.as_bytes(), whole].concat()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::home::store;
    use crate::stack::fixture;

    fn paths(collected: &Collected) -> Vec<&str> {
        collected.pieces.iter().map(|piece| piece.path.as_str()).collect()
    }

    #[test]
    fn a_labs_folder_is_taken_without_what_is_secret_in_it() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home(folder.path().to_owned());
        let dir = home.lab("lab");
        store::create(&fixture::lab(), &dir).unwrap();
        let run = dir.logs().join("2026-11-27T10-00-00Z-1");
        files::create_dir(&run).unwrap();
        for file in [dir.journal(), dir.kubeconfig(), dir.ssh_config(), run.join("events.jsonl")] {
            files::write_atomic(&file, b"text", files::PRIVATE_FILE).unwrap();
        }
        let mut collected = Collected::default();
        collected.lab_folder(&home, "lab");
        let expected = ["lab/journal.jsonl", "lab/ssh_config", "runs/2026-11-27T10-00-00Z-1/events.jsonl"];
        assert_eq!(paths(&collected), expected);
        assert_eq!(collected.missing, []);
    }

    #[test]
    fn what_is_not_there_or_not_readable_is_said_and_the_rest_is_taken() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home(folder.path().to_owned());
        let mut collected = Collected::default();
        collected.lab_folder(&home, "lab");
        assert_eq!(paths(&collected), [""; 0]);
        assert_eq!(collected.missing[0].what, "lab/");
        // A folder where a file should be.
        files::create_dir(&home.lab("lab").journal()).unwrap();
        files::write_atomic(&home.lab("lab").ssh_config(), b"text", files::PRIVATE_FILE).unwrap();
        let mut collected = Collected::default();
        collected.lab_folder(&home, "lab");
        assert_eq!(paths(&collected), ["lab/ssh_config"]);
        assert_eq!(collected.missing[0].what, "lab/journal.jsonl");
    }

    #[test]
    fn of_a_long_file_the_end_is_taken_and_that_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("long");
        let text: String = (0..30_000).map(|number| format!("line {number:05}\n")).collect();
        files::write_atomic(&file, text.as_bytes(), 0o600).unwrap();
        let end = String::from_utf8(end_of(&file).unwrap().unwrap()).unwrap();
        let (head, rest) = end.split_once('\n').unwrap();
        assert_eq!(head, format!("[the first {} bytes are left out]", text.len() - rest.len()));
        assert!(rest.starts_with("line 0") && text.ends_with(rest), "{}", &end[..60]);
        assert_eq!(end_of(&folder.path().join("none")).unwrap(), None);
    }
}
