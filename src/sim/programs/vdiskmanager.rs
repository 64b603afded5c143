//! `vmware-vdiskmanager`: disks by themselves (facts/vm-images-cloudinit.md §2.1).

use std::path::PathBuf;

use super::Screen;
use crate::sim::disk;
use crate::sim::files;
use crate::sim::pace::{Operation, Pace};
use crate::sim::places::Places;
use crate::sim::settings::Settings;

/// `-t 0`: a growable disk in one file, the one kind that the simulation makes.
const MONOLITHIC_SPARSE: &str = "0";
const SECTOR: u64 = 512;

/// Runs one verb.
pub async fn run(places: &Places, args: &[String], screen: &mut Screen) -> u8 {
    let speed = Settings::load(places).map_or(1.0, |settings| settings.speed);
    Pace::new(speed).take(Operation::Disk).await;
    match verb(args) {
        Ok(done) => {
            screen.line(done);
            0
        }
        Err(error) => {
            screen.line(&error);
            1
        }
    }
}

fn verb(args: &[String]) -> Result<&'static str, String> {
    let option = |name: &str| args.iter().position(|arg| arg == name).and_then(|at| args.get(at + 1));
    let file =
        args.last().map(PathBuf::from).filter(|_| args.len() > 1).ok_or("Invalid number of arguments.")?;
    let has = |name: &str| args.iter().any(|arg| arg == name);
    if let Some(kind) = option("-t").filter(|kind| *kind != MONOLITHIC_SPARSE) {
        return Err(format!("Disk type {kind} is not simulated."));
    }
    if has("-c") {
        let size = option("-s").and_then(|size| bytes(size)).ok_or("Invalid size.")?;
        disk::create(&file, size / SECTOR)?;
        return Ok("  Create: 100% done.\nVirtual disk creation successful.");
    }
    if let Some(source) = option("-r") {
        disk::flatten(&PathBuf::from(source), &file)?;
        return Ok("  Convert: 100% done.\nVirtual disk conversion successful.");
    }
    if let Some(size) = option("-x") {
        let size = bytes(size).ok_or("Invalid size.")?;
        disk::grow(&file, size / SECTOR)?;
        return Ok("  Grow: 100% done.\nDisk expansion completed successfully.");
    }
    if let Some(source) = option("-n") {
        files::rename(&PathBuf::from(source), &file).map_err(|error| error.to_string())?;
        return Ok("Renaming completed successfully.");
    }
    if has("-U") {
        files::remove(&file).map_err(|error| error.to_string())?;
        return Ok("Deletion completed successfully.");
    }
    if has("-R") {
        disk::check(&file)?;
        return Ok("No errors were found on the virtual disk.");
    }
    if has("-d") || has("-k") {
        disk::check(&file)?;
        return Ok("  Defragment: 100% done.");
    }
    Err("Invalid command.".to_owned())
}

/// Reads `40GB`, `512MB`, `100KB` or a number of sectors.
fn bytes(size: &str) -> Option<u64> {
    let at = size.find(|char: char| !char.is_ascii_digit()).unwrap_or(size.len());
    let (number, unit) = size.split_at(at);
    let unit = match unit.to_ascii_uppercase().as_str() {
        "" => SECTOR,
        "KB" => 1 << 10,
        "MB" => 1 << 20,
        "GB" => 1 << 30,
        "TB" => 1 << 40,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units() {
        assert_eq!(bytes("40GB"), Some(40 << 30));
        assert_eq!(bytes("2048"), Some(1 << 20));
        assert_eq!(bytes("40 GB"), None);
    }
}
