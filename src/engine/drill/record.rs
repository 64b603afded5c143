//! What a drill breaks, on disk before it is broken: a run that is killed leaves word to the next one.

use crate::engine::context::Engine;
use crate::engine::error::Result;
use crate::engine::home::records::{self, Versioned};
use crate::host::{clock, files};
use crate::stack::drill::{Record, Scenario};

impl Versioned for Record {
    const VERSION: u32 = Record::VERSION;
    const WHAT: &'static str = "a drill's record";
}

/// Returns what an earlier drill broke and nobody put back; none if there is nothing of the kind.
pub fn read(engine: &Engine) -> Result<Option<Record>> {
    records::read(&engine.dir.drill())
}

pub fn write(engine: &Engine, scenario: Scenario, node: &str) -> Result<()> {
    let since = clock::rfc3339(clock::now());
    let record = Record { version: Record::VERSION, scenario, node: node.to_owned(), since };
    records::write(&engine.dir.drill(), &record, files::PRIVATE_FILE)
}

pub fn remove(engine: &Engine) -> Result<()> {
    Ok(files::remove_file(&engine.dir.drill())?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::fixture::{Bench, Machines};

    #[test]
    fn a_record_is_found_until_it_is_removed_and_another_form_is_not_guessed_at() {
        let bench = Bench::new(Machines::default());
        let engine = &bench.engine;
        assert_eq!(read(engine).unwrap(), None);
        remove(engine).unwrap();
        write(engine, Scenario::GatewayNetwork, "gateway2").unwrap();
        let record = read(engine).unwrap().unwrap();
        assert_eq!((record.scenario, record.node.as_str()), (Scenario::GatewayNetwork, "gateway2"));
        let text = files::read_text(&engine.dir.drill()).unwrap();
        bench.file(&engine.dir.drill(), &text.replace("\"version\": 1", "\"version\": 2"));
        assert!(read(engine).unwrap_err().to_string().contains("version 2"));
        remove(engine).unwrap();
        assert_eq!(read(engine).unwrap(), None);
    }
}
