//! `vmnet-cfgcli`: the networks' database by verbs. It exits with 1 for success and 0 for failure
//! (facts/fusion-networking.md §2.3).
//!
//! Three of its texts are known: `vmnet: vmnetN`, `IP: a.b.c.d` and the count of networks. The others are made after
//! them.

mod adapters;
mod entries;
mod services;
mod store;

use std::io;

use super::Screen;
use crate::sim::configure;
use crate::sim::faults;
use crate::sim::network;
use crate::sim::places::Places;

const SUCCESS: u8 = 1;
const FAILURE: u8 = 0;

/// What came of a verb: whether it succeeded, or that it is unknown or was given the wrong arguments.
type Outcome = io::Result<Option<bool>>;

const SUCCEEDED: Outcome = Ok(Some(true));
const FAILED: Outcome = Ok(Some(false));
const UNKNOWN: Outcome = Ok(None);

/// Runs one verb.
pub async fn run(places: &Places, args: &[String], screen: &mut Screen) -> u8 {
    let mut call = Call { places, screen };
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    match call.verb(&words) {
        Ok(Some(true)) => {
            let occasion = format!("vmnet-cfgcli {}", words.join(" "));
            if faults::strikes(places, faults::NETWORK_EXIT_LIES, &occasion) { FAILURE } else { SUCCESS }
        }
        Ok(Some(false)) => FAILURE,
        Ok(None) => {
            call.screen.line("Invalid command or wrong number of arguments");
            FAILURE
        }
        Err(error) => {
            call.screen.error_line(&error.to_string());
            FAILURE
        }
    }
}

/// One call of the program.
struct Call<'a> {
    places: &'a Places,
    screen: &'a mut Screen,
}

impl Call<'_> {
    fn verb(&mut self, words: &[&str]) -> Outcome {
        let Some((&name, args)) = words.split_first() else { return UNKNOWN };
        // Each subject knows its own verbs.
        for subject in [Call::adapters, Call::services, Call::entries, Call::store] {
            let outcome = subject(self, name, args)?;
            if outcome.is_some() {
                return Ok(outcome);
            }
        }
        UNKNOWN
    }

    /// Says whether something was found, after printing it.
    fn show(&mut self, found: Option<String>) -> Outcome {
        let is_there = found.is_some();
        found.into_iter().for_each(|text| self.screen.line(&text));
        Ok(Some(is_there))
    }

    fn append(&self, line: &str) -> Outcome {
        configure::append_lines(self.places, &[line.to_owned()])?;
        SUCCEEDED
    }

    /// Gives one of a network's answers, if it is another than is there.
    fn answer(&self, vmnet: u8, key: &str, value: &str) -> Outcome {
        let answers = network::database(self.places)?.answers(vmnet);
        if answers.get(key).is_some_and(|there| there == value) {
            return SUCCEEDED;
        }
        self.append(&format!("answer VNET_{vmnet}_{key} {value}"))
    }
}

/// Returns the number of a network that is called by its name.
fn number(word: &str) -> Option<u8> {
    word.strip_prefix("vmnet")?.parse().ok()
}
