//! Flaws of Fusion that are known, and the release that mends each.

use serde::{Deserialize, Serialize};

use super::CATALOGUE;

/// Releases that are counted like `13.6.3`; what comes after them is named by the calendar, and a dotted number of such a
/// release does not tell which update it is (facts/vmrun-vmrest.md §4).
const LAST_COUNTED: u32 = 13;

/// One flaw.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Advisory {
    /// Its name in the public list, such as `CVE-2025-22226`.
    pub id: String,
    /// The oldest release that is known to have it.
    pub from: String,
    /// The release that mends it.
    pub fixed: String,
    /// What it lets somebody do, as a clause.
    pub what: String,
}

/// Returns the flaws that a Fusion of this version has, the newest last; none if the version does not tell.
pub fn advisories(fusion: &str) -> Option<Vec<&'static Advisory>> {
    let fusion = release(fusion)?;
    let has = |advisory: &&Advisory| {
        release(&advisory.from).is_some_and(|from| from <= fusion)
            && release(&advisory.fixed).is_some_and(|fixed| fusion < fixed)
    };
    Some(CATALOGUE.advisories.iter().filter(has).collect())
}

/// Returns the release that mends all that is known of this one, and has no known flaw itself; none if it has none.
pub fn mended(fusion: &str) -> Option<&'static str> {
    let next = |fusion: &str| advisories(fusion)?.last().map(|advisory| advisory.fixed.as_str());
    // Each is a later release than the one before, so that there is a last.
    std::iter::successors(next(fusion), |fixed| next(fixed)).last()
}

/// Returns a release such that later ones are greater: `13.6.3`, or `25H2u1` with its update; none for what does not say
/// which it is.
fn release(text: &str) -> Option<(u32, u32, u32)> {
    let number = |text: &str| {
        let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if is_number { text.parse::<u32>().ok() } else { None }
    };
    if let Some((year, half)) = text.split_once(['H', 'h']) {
        let (half, update) = half.split_once(['u', 'U']).unwrap_or((half, "0"));
        return Some((number(year)?, number(half)?, number(update)?));
    }
    let numbers: Vec<u32> = text.split('.').map(number).collect::<Option<_>>()?;
    let at = |index| numbers.get(index).copied().unwrap_or(0);
    (at(0) <= LAST_COUNTED).then(|| (at(0), at(1), at(2)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(fusion: &str) -> Vec<&'static str> {
        let found = advisories(fusion).unwrap_or_else(|| panic!("{fusion} tells"));
        found.iter().map(|advisory| advisory.id.as_str()).collect()
    }

    #[test]
    fn a_release_has_what_a_later_one_mends() {
        let all = &CATALOGUE.advisories;
        assert!(!all.is_empty());
        for advisory in all {
            let (from, fixed) = (release(&advisory.from).unwrap(), release(&advisory.fixed).unwrap());
            assert!(from < fixed, "{advisory:?}");
            assert!(ids(&advisory.from).contains(&advisory.id.as_str()));
            assert!(!ids(&advisory.fixed).contains(&advisory.id.as_str()));
            assert!(advisory.id.starts_with("CVE-") && !advisory.what.ends_with('.'), "{advisory:?}");
        }
    }

    #[test]
    fn each_release_is_judged_by_its_update() {
        assert_eq!(ids("13.6.3"), ["CVE-2025-41237", "CVE-2026-22715"]);
        assert_eq!(ids("13.6.4"), ["CVE-2026-22715"]);
        assert!(ids("25H2").contains(&"CVE-2026-22715") && !ids("25H2u1").contains(&"CVE-2026-22715"));
        assert!(ids("26H1").contains(&"CVE-2026-59346") && !ids("26H1u1").contains(&"CVE-2026-59346"));
        assert_eq!(ids("99H2"), [""; 0]);
    }

    #[test]
    fn an_update_is_advised_that_has_no_known_flaw_itself() {
        assert_eq!(mended("13.6.3"), Some("26H1u1"));
        assert_eq!((mended("26H1u1"), mended("26.0.0")), (None, None));
    }

    #[test]
    fn a_version_that_does_not_say_which_it_is_is_not_judged() {
        for fusion in ["26.0.0", "25.0", "e.x.p", "", "H2", "26H", "26H1u", "13.x", "13."] {
            assert_eq!(advisories(fusion), None, "{fusion:?}");
        }
    }
}
