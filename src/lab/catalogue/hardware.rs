//! The virtual hardware that each release of Fusion can run.

use serde::Deserialize;

use super::CATALOGUE;

/// Virtual hardware, as `virtualHW.version` says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hardware {
    /// What machines are written with. A newer Fusion runs older hardware, so one version serves all.
    pub version: &'static str,
    /// The newest that this Fusion runs.
    pub newest: &'static str,
}

/// Returns what a Fusion can run, by its version: `13.6.3`, or by the calendar `25H2` and `25.0.0`. One that is newer
/// than the catalogue runs at least what the newest known one does.
///
/// None for a release that is older than any that runs what we write, or a text that is no version.
pub fn hardware(fusion: &str) -> Option<Hardware> {
    let table = &CATALOGUE.hardware;
    let fusion = release(fusion)?;
    let row =
        table.newest.iter().rev().find(|row| release(&row.fusion).is_some_and(|from| from <= fusion))?;
    Some(Hardware { version: &table.written, newest: &row.version })
}

/// Returns the hardware that machines are written with.
pub fn written_hardware() -> &'static str {
    &CATALOGUE.hardware.written
}

/// Says whether a Fusion is known not to run what is written; a version of another form is given the benefit of doubt.
pub fn is_too_old(fusion: &str) -> bool {
    release(fusion).is_some() && hardware(fusion).is_none()
}

/// Returns a release's year, or major number, and what follows, such that later ones are greater.
fn release(text: &str) -> Option<(u32, u32)> {
    let number = |text: &str| {
        let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if is_number { text.parse().ok() } else { None }
    };
    if let Some((year, half)) = text.split_once(['H', 'h']) {
        // `25H2u1` is an update of the second half of 2025.
        let half = half.split(['u', 'U']).next().unwrap_or_default();
        return Some((number(year)?, number(half)?));
    }
    let mut parts = text.split('.');
    let major = number(parts.next()?)?;
    Some((major, parts.next().map_or(Some(0), number)?))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct HardwareTable {
    written: String,
    newest: Vec<HardwareRow>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HardwareRow {
    fusion: String,
    version: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_release_of_fusion_runs_what_is_written() {
        for (fusion, newest) in [
            ("13.0", "20"),
            ("13.0.2", "20"),
            ("13.5", "21"),
            ("13.6.3", "21"),
            ("25H2", "22"),
            ("25H2u1", "22"),
            ("25.0.0", "22"),
            ("26H1", "22"),
            ("27.0", "22"),
        ] {
            assert_eq!(hardware(fusion), Some(Hardware { version: "20", newest }), "{fusion}");
        }
    }

    #[test]
    fn what_is_too_old_or_no_version_has_none() {
        for fusion in ["12.2.5", "11", "", "e.x.p", "H2", "25H", "13.x"] {
            assert_eq!(hardware(fusion), None, "{fusion:?}");
        }
    }

    #[test]
    fn only_a_release_that_is_known_to_be_older_is_too_old() {
        let too_old = ["12.2.5", "13.0", "25H2", "e.x.p", ""].map(is_too_old);
        assert_eq!(too_old, [true, false, false, false, false]);
    }

    #[test]
    fn no_fusion_is_asked_for_more_than_it_runs() {
        let table = &CATALOGUE.hardware;
        let number = |text: &str| text.parse::<u32>().unwrap();
        assert!(table.newest.iter().all(|row| number(&table.written) <= number(&row.version)));
        assert!(table.newest.is_sorted_by_key(|row| release(&row.fusion).unwrap()));
    }
}
