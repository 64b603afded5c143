//! Kills this very process at a named point: how a test cuts a run off where it wants, and not where it happens to be.
//!
//! `FUSIONLAB_SIM_KNIFE` names a file. The first point that is not in it is where the process dies, after its name was
//! added; so run after run dies at one point more, until a run finds none that is new. Only where the simulated Fusion is
//! built in, and without the variable nothing at all.

use std::path::PathBuf;

use super::{files, system};

const VARIABLE: &str = "FUSIONLAB_SIM_KNIFE";

/// Where the blade falls, seen from what is done at a point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    Before,
    /// Half of it is done.
    Within,
    After,
}

/// The file of the points that were.
#[derive(Clone, Debug)]
pub struct Knife {
    seen: PathBuf,
}

impl Knife {
    pub fn from_environment() -> Option<Self> {
        std::env::var_os(VARIABLE).map(|seen| Self { seen: seen.into() })
    }

    /// Says whether the process is to die at this point, and how: the three ways take turns.
    pub fn strikes(&self, point: &str) -> Option<Way> {
        let text = files::read_text(&self.seen).unwrap_or_default();
        if text.lines().any(|seen| seen == point) {
            return None;
        }
        files::append(&self.seen, format!("{point}\n").as_bytes(), files::PRIVATE_FILE).ok()?;
        let ways = [Way::Before, Way::Within, Way::After];
        Some(ways[text.lines().count() % ways.len()])
    }

    /// Ends this process as `kill -9` does.
    pub fn kill() {
        system::end_process(std::process::id());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_point_is_struck_once_and_the_ways_take_turns() {
        let folder = tempfile::tempdir().unwrap();
        let knife = Knife { seen: folder.path().join("seen") };
        assert_eq!(knife.strikes("a"), Some(Way::Before));
        assert_eq!(knife.strikes("a"), None);
        assert_eq!(knife.strikes("b"), Some(Way::Within));
        assert_eq!(knife.strikes("c"), Some(Way::After));
        assert_eq!(knife.strikes("b"), None);
        assert_eq!(knife.strikes("d"), Some(Way::Before));
    }
}
