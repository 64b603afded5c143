//! What nobody may be told, wherever it may have got to, and who may read it where it belongs.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use fusionlab::lab::{Lab, paths};

use super::invariants::{Found, Violation, everything, is_temporary};
use super::mac::Mac;

/// Nothing of them was told, and the files with them are their owner's alone.
pub fn are_kept(mac: &Mac) -> Found {
    mac.labs().try_for_each(|lab| of_lab_are_kept(mac, lab))
}

fn of_lab_are_kept(mac: &Mac, lab: &Lab) -> Found {
    let secrets = secrets(mac, lab);
    nothing_secret_is_told(mac, lab, &secrets)?;
    let (name, lab) = (&lab.name, mac.home.lab(&lab.name));
    let seeds = everything(&mac.fusion.library.join(name));
    let seeds = seeds.into_iter().filter(|path| path.ends_with(paths::SEED_ISO));
    let keys = secrets.into_iter().map(|(name, _)| lab.identity().join(name));
    for path in seeds.chain(keys).chain([lab.kubeconfig()]) {
        let mode = fs::metadata(&path).map_or(0, |facts| facts.permissions().mode());
        if mode & 0o077 != 0 {
            return Err(Violation::of("secrets", format!("{} has mode {mode:o}", path.display())));
        }
    }
    Ok(())
}

/// Returns what nobody may be told: a lab's private keys, by a line of each, and its token.
fn secrets(mac: &Mac, lab: &Lab) -> Vec<(String, String)> {
    let folder = mac.home.lab(&lab.name).identity();
    let mut found = Vec::new();
    for path in everything(&folder) {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let text = String::from_utf8_lossy(&fs::read(&path).unwrap_or_default()).into_owned();
        let is_key = text.contains("PRIVATE KEY-----");
        if name == "token" {
            found.push((name, text.trim().to_owned()));
        } else if is_key && let Some(line) = text.lines().nth(2).filter(|line| line.len() > 20) {
            found.push((name, line.to_owned()));
        }
    }
    found
}

fn nothing_secret_is_told(mac: &Mac, lab: &Lab, secrets: &[(String, String)]) -> Found {
    let told = mac.told.lock().expect("nobody panics with it").join("\n");
    let lab = mac.home.lab(&lab.name);
    let sim = mac.home.sim();
    let is_public = |path: &PathBuf| {
        !path.starts_with(lab.identity())
            && !path.starts_with(lab.identity().with_extension("new"))
            && !path.starts_with(&sim)
            && !path.starts_with(mac.home.templates())
            && *path != lab.kubeconfig()
            && !is_temporary(path)
    };
    let files = everything(&mac.home.0).into_iter().filter(is_public);
    let texts = files.map(|path| {
        let text = String::from_utf8_lossy(&fs::read(&path).unwrap_or_default()).into_owned();
        (path.display().to_string(), text)
    });
    let texts: Vec<(String, String)> = texts.chain([("what was told".to_owned(), told)]).collect();
    for (name, secret) in secrets.iter().filter(|(_, secret)| !secret.is_empty()) {
        if let Some((place, _)) = texts.iter().find(|(_, text)| text.contains(secret.as_str())) {
            return Err(Violation::of("secrets", format!("{name} is in {place}")));
        }
    }
    Ok(())
}
