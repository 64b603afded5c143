//! The database as a whole: free-form keys, copies in and out, and a new one.

use std::io;
use std::path::Path;

use super::{Call, FAILED, Outcome, SUCCEEDED, UNKNOWN, number};
use crate::formats::networking::Document;
use crate::sim::files;
use crate::sim::network;

/// A database in which nothing stands.
const EMPTY: &str = "VERSION=1,0\n";
/// How much the program logs, as it comes. A set level does not outlast the call (VNETLIB).
const LOG_LEVEL: u8 = 30;

impl Call<'_> {
    /// Does a verb that is about the database.
    pub(super) fn store(&mut self, name: &str, args: &[&str]) -> Outcome {
        match (name, args) {
            ("vnetcfgadd", args) => match added(args) {
                Some((key, value)) => self.append(&format!("answer {key} {value}")),
                None => UNKNOWN,
            },
            ("vnetcfgremove", args) => match key(args) {
                Some(key) => self.append(&format!("remove_answer {key}")),
                None => UNKNOWN,
            },
            ("vnetcfgget", args) => match key(args) {
                Some(key) => self.show_answer(&key),
                None => UNKNOWN,
            },
            ("exportconfig", [path]) => {
                let text = files::read_bytes(&self.places.networking())?;
                files::write(Path::new(path), text)?;
                SUCCEEDED
            }
            ("importconfig", [path]) => self.import(Path::new(path)),
            ("createdb", []) => {
                files::write(&self.places.networking(), EMPTY)?;
                SUCCEEDED
            }
            ("getloglevel" | "getdefaultloglevel", []) => self.show(Some(LOG_LEVEL.to_string())),
            ("setloglevel" | "setdefaultloglevel", [level]) => Ok(Some(level.parse::<u8>().is_ok())),
            _ => UNKNOWN,
        }
    }

    fn import(&self, path: &Path) -> Outcome {
        let bytes = match files::read_bytes(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return FAILED,
            Err(error) => return Err(error),
        };
        if Document::parse(&bytes).is_err() {
            return FAILED;
        }
        files::write(&self.places.networking(), bytes)?;
        SUCCEEDED
    }

    fn show_answer(&mut self, key: &str) -> Outcome {
        let Some((number, key)) = key.strip_prefix("VNET_").and_then(|rest| rest.split_once('_')) else {
            return FAILED;
        };
        let Ok(number) = number.parse() else { return FAILED };
        let answer = network::database(self.places)?.answers(number).remove(key);
        self.show(answer)
    }
}

/// Reads both ways to add a key: `vmnet8 key:value`, and `VNET_8_KEY value` as every live script has it
/// (facts/fusion-networking.md §2.3).
fn added(args: &[&str]) -> Option<(String, String)> {
    let [first, second] = args else { return None };
    match number(first) {
        Some(_) => {
            let (name, value) = second.split_once(':')?;
            Some((key(&[first, name])?, value.to_owned()))
        }
        None => Some((key(&[first])?, (*second).to_owned())),
    }
}

/// Reads both ways to name a key: `vmnet8 key` and `VNET_8_KEY`.
fn key(args: &[&str]) -> Option<String> {
    match args {
        [vmnet, name] if !name.is_empty() => {
            Some(format!("VNET_{}_{}", number(vmnet)?, name.to_ascii_uppercase()))
        }
        [key] if number(key).is_none() && !key.is_empty() => Some((*key).to_owned()),
        _ => None,
    }
}
