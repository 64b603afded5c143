//! Fusion's networking file: the database of its networks, read as a journal and edited as text.
//!
//! ```text
//! VERSION=1,0
//! answer VNET_2_DHCP yes                                  directive.rs: one line
//! answer VNET_2_HOSTONLY_SUBNET 10.10.0.0                 model.rs: all lines, the last one wins
//! add_dhcp_mac_to_ip 2 00:50:56:00:0b:01 10.10.0.131      wish.rs: what we want of them, and what stands in the way
//!                                                         edit.rs: the least change for a wish, and back
//!                                                         back.rs: the way back of a change that did not work
//!                                                         change.rs: how much differs, and what root accepts
//! ```
//!
//! Lines that nobody here knows are kept byte for byte (facts/fusion-networking.md §1). A line is read once, and
//! every edit takes time in proportion to the lines.

mod back;
mod change;
mod directive;
mod edit;
mod model;
mod remarks;
mod strict;
mod wish;

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use super::lines::{self, Line};
use super::mac::Mac;
pub use back::{Back, take_back};
pub use change::{Scope, confined, scope, well_formed};
pub use directive::Protocol;
use directive::{Meaning, Row, VERSION};
pub use edit::restore;
pub use model::{FUSIONS_OWN, HASH, Model, PortForward, UUID, Vmnet};
pub use remarks::Remark;
pub use wish::{Conflict, Ours, Wish, overlap};

/// A networking file. What was parsed renders to exactly the same bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    lines: Vec<Line<Row>>,
    /// What the lines say: made with them, and anew after each edit.
    model: Model,
}

/// Why a file, or a change of it, is not one that we dare to write.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("{}{reason}", place(*line))]
pub struct Refusal {
    /// Counts from 1; 0 stands for the file as a whole.
    pub line: usize,
    pub reason: String,
}

fn place(line: usize) -> String {
    if line == 0 { String::new() } else { format!("line {line}: ") }
}

impl Document {
    /// Returns the file that stands for an absent one.
    pub fn new() -> Self {
        Self::of(lines::split_bytes(format!("{VERSION}\n").as_bytes(), Row::new))
    }

    /// Reads a networking file: any bytes without NUL whose first row is the version that we know. Lines that
    /// are not text are kept like other lines that we do not know.
    ///
    /// # Errors
    /// If it is binary data, or its first line is not the version that we know.
    pub fn parse(bytes: &[u8]) -> Result<Self, Refusal> {
        if let Some(at) = bytes.iter().position(|byte| *byte == 0) {
            let line = lines::split_bytes(&bytes[..=at], |_| ()).len();
            return Err(Refusal { line, reason: "binary data".to_owned() });
        }
        let lines = lines::split_bytes(bytes, Row::new);
        let first = lines.iter().position(|line| line.text.meaning != Meaning::Blank);
        let Some(first) = first else {
            return Err(Refusal { line: 1, reason: format!("the file is empty: expected {VERSION}") });
        };
        if lines[first].text.meaning != Meaning::Version {
            let found = shown(&lines[first].text);
            return Err(Refusal { line: first + 1, reason: format!("expected {VERSION}, found {found}") });
        }
        Ok(Self::of(lines))
    }

    fn of(lines: Vec<Line<Row>>) -> Self {
        let model = Model::of(lines.iter().map(|line| &line.text));
        Self { lines, model }
    }

    /// Returns the file's bytes.
    pub fn render(&self) -> Vec<u8> {
        lines::join_bytes(&self.lines)
    }

    /// Appends a line as Fusion does: whole, in the file's own ending, and overruling what it contradicts. Not an empty one: its newline
    /// behind a line that ends with a carriage return would be that line's.
    pub fn append(&mut self, line: &str) {
        assert!(!line.is_empty() && !line.contains(['\r', '\n', '\0']), "one line of text at a time");
        let row = Row::new(line.as_bytes());
        self.model.read(&row);
        lines::append(&mut self.lines, row);
    }

    /// Returns what all lines together say.
    pub const fn model(&self) -> &Model {
        &self.model
    }

    /// Returns what is said of one network; a network that is not mentioned does not exist.
    pub fn vmnet(&self, number: u8) -> Vmnet {
        self.model.vmnet(number)
    }

    /// Returns every network that is mentioned, by answers, reservations, forwards or bridge mappings.
    pub fn vmnets(&self) -> Vec<Vmnet> {
        self.model.vmnets()
    }

    /// Returns a network's reserved addresses, in order of MAC.
    pub fn reservations(&self, vmnet: u8) -> Vec<(Mac, Ipv4Addr)> {
        self.model.reservations(vmnet)
    }

    /// Returns a network's forwarded ports, in order of protocol and host port.
    pub fn port_forwards(&self, vmnet: u8) -> Vec<PortForward> {
        self.model.port_forwards(vmnet)
    }

    /// Returns a network's answers: the key without `VNET_<n>_`, in upper case, and its value.
    pub fn answers(&self, vmnet: u8) -> BTreeMap<String, String> {
        self.model.answers(vmnet)
    }
}

impl Default for Document {
    fn default() -> Self {
        Self::new()
    }
}

/// Returns a line's text as it can stand in a message: quoted, escaped and not too long.
fn shown(row: &Row) -> String {
    const ENOUGH: usize = 60;
    let text = row.text();
    match text.char_indices().nth(ENOUGH) {
        Some((end, _)) => format!("{:?}…", &text[..end]),
        None => format!("{text:?}"),
    }
}
