//! What nobody may be told, wherever it may have got to, and who may read it where it belongs.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use fusionlab::lab::{Lab, paths};

use super::invariants::{Found, Violation, everything, is_temporary};
use super::mac::Mac;

/// What nobody may be told.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Secret {
    /// Its file's name in the lab's identity.
    name: String,
    text: String,
}

/// Nothing of them was told, also of those of a lab that is gone, and the files with them are their owner's alone.
pub fn are_kept(mac: &Mac) -> Found {
    let now: Vec<(&Lab, Vec<Secret>)> = mac.labs().map(|lab| (lab, secrets(mac, lab))).collect();
    mac.secrets.borrow_mut().extend(now.iter().flat_map(|(_, secrets)| secrets.clone()));
    nothing_secret_is_told(mac)?;
    now.into_iter().try_for_each(|(lab, secrets)| are_their_owners(mac, lab, secrets))
}

fn are_their_owners(mac: &Mac, lab: &Lab, secrets: Vec<Secret>) -> Found {
    let (name, lab) = (&lab.name, mac.home.lab(&lab.name));
    let seeds = everything(&mac.fusion.library.join(name));
    let seeds = seeds.into_iter().filter(|path| path.ends_with(paths::SEED_ISO));
    let keys = secrets.into_iter().map(|secret| lab.identity().join(secret.name));
    for path in seeds.chain(keys).chain([lab.kubeconfig()]) {
        let mode = fs::metadata(&path).map_or(0, |facts| facts.permissions().mode());
        if mode & 0o077 != 0 {
            return Err(Violation::of("secrets", format!("{} has mode {mode:o}", path.display())));
        }
    }
    Ok(())
}

/// Returns what nobody may be told: a lab's private keys, by a line of each, and its token.
fn secrets(mac: &Mac, lab: &Lab) -> Vec<Secret> {
    let folder = mac.home.lab(&lab.name).identity();
    let mut found = Vec::new();
    for path in everything(&folder) {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let text = String::from_utf8_lossy(&fs::read(&path).unwrap_or_default()).into_owned();
        let is_key = text.contains("PRIVATE KEY-----");
        if name == "token" {
            found.push(Secret { name, text: text.trim().to_owned() });
        } else if is_key && let Some(line) = text.lines().nth(2).filter(|line| line.len() > 20) {
            found.push(Secret { name, text: line.to_owned() });
        }
    }
    found
}

fn nothing_secret_is_told(mac: &Mac) -> Found {
    let told = mac.told.lock().expect("nobody panics with it").join("\n");
    let of_labs = mac.labs().flat_map(|lab| {
        let (leaving, lab) = (mac.home.leaving(&lab.name), mac.home.lab(&lab.name));
        [lab.identity(), lab.identity().with_extension("new"), lab.kubeconfig(), leaving]
    });
    let theirs: Vec<PathBuf> = of_labs.chain([mac.home.sim(), mac.home.templates()]).collect();
    let is_public =
        |path: &PathBuf| !theirs.iter().any(|place| path.starts_with(place)) && !is_temporary(path);
    let files = everything(&mac.home.0).into_iter().filter(is_public);
    let texts = files.map(|path| {
        let text = String::from_utf8_lossy(&fs::read(&path).unwrap_or_default()).into_owned();
        (path.display().to_string(), text)
    });
    let texts: Vec<(String, String)> = texts.chain([("what was told".to_owned(), told)]).collect();
    for secret in mac.secrets.borrow().iter().filter(|secret| !secret.text.is_empty()) {
        if let Some((place, _)) = texts.iter().find(|(_, text)| text.contains(secret.text.as_str())) {
            return Err(Violation::of("secrets", format!("{} is in {place}", secret.name)));
        }
    }
    Ok(())
}
