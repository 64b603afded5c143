//! The lab's `ssh_config` and `known_hosts`, so that the user's own ssh knows the guests from the first contact.

use std::path::PathBuf;

use crate::formats::command::quote;
use crate::host::{files, system};
use crate::stack::ssh_config::{self, Places};

use crate::engine::context::Engine;
use crate::engine::error::Result;
use crate::engine::home::store;

/// The verb of ours that carries a connection into a simulated Fusion's networks, and the word for where to.
const THROUGH: [&str; 2] = ["ssh", "--through"];

/// Writes both files where they are missing or say something else; returns the configuration's path. This program may have
/// moved since, and with it the way into a simulated Fusion.
pub fn write(engine: &Engine) -> Result<PathBuf> {
    let identity = engine.need_identity()?;
    let (key, known) = (engine.dir.identity().join(store::USER_KEY), engine.dir.known_hosts());
    let proxy = if engine.fusion.simulated { Some(proxy(engine)?) } else { None };
    let places = Places { key: &key, known_hosts: &known };
    let config = ssh_config::config(&engine.lab, places, proxy.as_deref());
    let path = engine.dir.ssh_config();
    for (file, text) in [(&known, ssh_config::known_hosts(&engine.lab, &identity)), (&path, config)] {
        if files::read_if_exists(file)?.as_deref() != Some(text.as_bytes()) {
            files::write_atomic(file, text.as_bytes(), files::PRIVATE_FILE)?;
        }
    }
    Ok(path)
}

fn proxy(engine: &Engine) -> Result<String> {
    let word = |text: &str| ssh_config::plain(&quote(text));
    let program = word(&system::own_program()?.display().to_string());
    let root = word(&engine.fusion.root.display().to_string());
    let [verb, through] = THROUGH;
    Ok(format!("{program} --fusion {root} {verb} {through} %h"))
}
