//! All labs of this Mac: a row each, and how one is taken down whose lab file is gone.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::table::{Cell, Table};
use crate::cli::terminal::{Ink, Pen};
use crate::cli::words;
use crate::engine::home::labs::{FileState, LabSeen};
use crate::engine::journal::{Ended, Last};
use crate::formats::command::quote;
use crate::host::clock;
use crate::host::lock::Holder;
use crate::lab::presets::Preset;

const NONE: &str = "no labs yet:";

/// One lab in one Fusion, as programs are told of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Row {
    pub lab: String,
    /// None if its machines are not of a preset's numbers, or nobody wrote them down.
    pub preset: Option<Preset>,
    /// The numbers that were wanted; none if nobody wrote them down.
    pub wanted: Option<Wanted>,
    /// Machines in Fusion's library.
    pub made: usize,
    /// Those of them that run; none if no Fusion says so.
    pub running: Option<usize>,
    pub fusion: Option<FusionRow>,
    /// None if it was made without one, or nobody wrote down from which.
    pub file: Option<PathBuf>,
    pub file_is: Option<FileState>,
    pub last: Option<LastRow>,
    /// Whoever works on it now.
    pub at_work: Option<Holder>,
    pub folder: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Wanted {
    pub gateways: usize,
    pub control_planes: usize,
    pub workers: usize,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FusionRow {
    pub version: String,
    pub simulated: bool,
    /// What stands for `/` around it.
    pub root: PathBuf,
}

/// What was done to a lab last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LastRow {
    pub verb: String,
    /// In RFC 3339.
    pub at: String,
    /// None while it is at work, or if nobody wrote it down.
    pub ended: Option<Ended>,
    #[serde(skip)]
    seconds: u64,
}

impl LastRow {
    pub fn of(last: Last) -> Self {
        let seconds = last.at_ms / 1000;
        Self { verb: last.verb, at: clock::rfc3339(seconds), ended: last.ended, seconds }
    }

    /// Says when it was, as short as it can be.
    pub fn when(&self) -> String {
        clock::moment(self.seconds)
    }

    /// Returns how it ended, in words; none if it came to a good end, or nobody knows.
    pub fn short_of_done(&self) -> Option<&'static str> {
        match self.ended? {
            Ended::Done => None,
            Ended::Failed => Some("failed"),
            Ended::Interrupted => Some("interrupted"),
            Ended::CutOff => Some("cut off"),
        }
    }
}

impl Row {
    pub fn of(seen: LabSeen) -> Self {
        let record = seen.made_from.as_ref();
        let wanted = record.map(|record| record.machines);
        let preset = |(gateways, control_planes, workers): (usize, usize, usize)| {
            let is_its_own = |preset: &Preset| {
                let (one, two, three) = preset.counts();
                (one.into(), two.into(), three.into()) == (gateways, control_planes, workers)
            };
            Preset::ALL.into_iter().find(is_its_own)
        };
        Self {
            preset: wanted.and_then(preset),
            wanted: wanted.map(|(gateways, control_planes, workers)| Wanted {
                gateways,
                control_planes,
                workers,
            }),
            made: seen.made,
            running: seen.running,
            file: record.and_then(|record| record.file.clone()),
            file_is: seen.file,
            fusion: seen.fusion.map(|fusion| FusionRow {
                version: fusion.version,
                simulated: fusion.simulated,
                root: fusion.root,
            }),
            last: seen.last.map(LastRow::of),
            at_work: seen.at_work,
            folder: seen.folder,
            lab: seen.name,
        }
    }

    fn size(&self, pen: &Pen) -> Cell {
        match (self.preset, self.wanted) {
            (Some(preset), _) => Cell::plain(preset.to_string()),
            (None, Some(Wanted { gateways, control_planes, workers })) => {
                Cell::plain(format!("{gateways}+{control_planes}+{workers}"))
            }
            (None, None) => Cell::inked(Ink::Dim, pen.none()),
        }
    }

    fn runs(&self, pen: &Pen) -> Cell {
        let wanted = self.wanted.map(|wanted| wanted.gateways + wanted.control_planes + wanted.workers);
        let all = wanted.unwrap_or(self.made).max(self.made);
        match self.running {
            None => Cell::inked(Ink::Dim, pen.none()),
            Some(running) if running == all && all > 0 => {
                Cell::inked(Ink::Good, format!("{running} of {all}"))
            }
            Some(running) => Cell::inked(Ink::Warn, format!("{running} of {all}")),
        }
    }

    fn in_fusion(&self, pen: &Pen) -> Cell {
        match &self.fusion {
            None => Cell::inked(Ink::Dim, pen.none()),
            Some(fusion) if fusion.simulated => Cell::plain("simulated"),
            Some(fusion) => Cell::plain(fusion.version.clone()),
        }
    }

    fn last(&self, pen: &Pen) -> Cell {
        match (&self.at_work, &self.last) {
            (Some(Holder { verb, .. }), _) => Cell::inked(Ink::Warn, format!("{verb} is at work")),
            (None, Some(last)) => match last.short_of_done() {
                Some(how) => Cell::inked(Ink::Warn, format!("{} {how}, {}", last.verb, last.when())),
                None => Cell::plain(format!("{}, {}", last.verb, last.when())),
            },
            (None, None) => Cell::inked(Ink::Dim, pen.none()),
        }
    }

    fn file(&self, shown: &dyn Fn(&Path) -> String, pen: &Pen) -> Cell {
        match (&self.file, self.file_is) {
            (Some(file), Some(FileState::Gone)) => Cell::inked(Ink::Warn, format!("gone: {}", shown(file))),
            (Some(file), Some(FileState::AnotherLab)) => {
                Cell::inked(Ink::Warn, format!("another lab's now: {}", shown(file)))
            }
            (Some(file), _) => Cell::plain(shown(file)),
            (None, _) if self.wanted.is_some() => Cell::plain("none: the built-in lab"),
            (None, _) => Cell::inked(Ink::Dim, pen.none()),
        }
    }

    fn has_lost_its_file(&self) -> bool {
        matches!(self.file_is, Some(FileState::Gone | FileState::AnotherLab))
    }
}

/// Returns a line for each lab, and below them how those are taken down whose lab file is gone. `shown` spells a path, `options` are
/// those that other verbs need to find the same home and Fusion.
pub fn lines(rows: &[Row], shown: &dyn Fn(&Path) -> String, options: &str, pen: &Pen) -> Vec<String> {
    let ours = |rest: &str| {
        let options = if options.is_empty() { String::new() } else { format!("{options} ") };
        pen.paint(Ink::Accent, &format!("fusionlab {options}{rest}"))
    };
    if rows.is_empty() {
        return vec![format!("{NONE} {}", ours("init"))];
    }
    let mut lines = table(rows, shown, pen);
    let lost: Vec<&Row> = rows.iter().filter(|row| row.has_lost_its_file()).collect();
    if let Some(first) = lost.first() {
        let name = &first.lab;
        let others = match lost.len() {
            1 => String::new(),
            _ => ", and likewise for the others".to_owned(),
        };
        let text =
            format!("the lab file of {name} is gone; one with its name is enough to take it down{others}:");
        lines.push(String::new());
        lines.extend(words::wrap(&text, pen.prose_width()));
        let file = quote(&format!("{name}.yaml"));
        lines.push(format!(
            "  {}",
            pen.paint(Ink::Accent, &format!(r"printf 'version: 1\nname: {name}\n' > {file}"))
        ));
        lines.push(format!("  {}", ours(&format!("--lab {file} destroy"))));
    }
    lines
}

/// Returns the labs in one table where it fits; else with their files in a second one.
fn table(rows: &[Row], shown: &dyn Fn(&Path) -> String, pen: &Pen) -> Vec<String> {
    let heads = ["LAB", "SIZE", "RUN", "FUSION", "LAST"];
    let mut whole = Table::new(heads.into_iter().chain(["LAB FILE"]));
    let mut states = Table::new(heads);
    let mut files = Table::new(["LAB", "LAB FILE"]);
    for row in rows {
        let name = || Cell::inked(Ink::Strong, row.lab.clone());
        let cells = || [name(), row.size(pen), row.runs(pen), row.in_fusion(pen), row.last(pen)];
        whole.row(cells().into_iter().chain([row.file(shown, pen)]));
        states.row(cells());
        files.row([name(), row.file(shown, pen)]);
    }
    if whole.fits(pen) {
        return whole.lines(pen);
    }
    let mut lines = states.lines(pen);
    lines.push(String::new());
    lines.extend(files.lines(pen));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(lab: &str) -> Row {
        Row {
            lab: lab.to_owned(),
            preset: Some(Preset::Solo),
            wanted: Some(Wanted { gateways: 1, control_planes: 1, workers: 0 }),
            made: 2,
            running: Some(2),
            fusion: Some(FusionRow { version: "26H1".to_owned(), simulated: true, root: "/sim".into() }),
            file: Some("/Users/me/labs/fusionlab.yaml".into()),
            file_is: Some(FileState::There),
            last: Some(last(Some(Ended::Done))),
            at_work: None,
            folder: Some("/Users/me/.fusionlab/labs/lab".into()),
        }
    }

    fn last(ended: Option<Ended>) -> LastRow {
        LastRow::of(Last { verb: "up".to_owned(), at_ms: 1_000, ended })
    }

    fn shown(path: &Path) -> String {
        path.display().to_string()
    }

    fn lines(rows: &[Row], options: &str, width: usize) -> Vec<String> {
        super::lines(rows, &shown, options, &Pen::plain(width))
    }

    #[test]
    fn a_lab_is_a_row_and_what_is_not_known_is_not_claimed() {
        let unknown = Row {
            preset: None,
            wanted: None,
            running: None,
            fusion: None,
            file: None,
            file_is: None,
            last: None,
            ..row("other")
        };
        let half = Row {
            preset: None,
            wanted: Some(Wanted { gateways: 1, control_planes: 3, workers: 2 }),
            running: Some(1),
            fusion: Some(FusionRow { version: "13.6.3".to_owned(), simulated: false, root: "/".into() }),
            file: None,
            file_is: None,
            at_work: Some(Holder { verb: "destroy".to_owned(), ..Holder::ourselves("") }),
            ..row("third")
        };
        assert_eq!(
            lines(&[row("lab"), unknown, half], "", 120).join("\n"),
            "\
LAB    SIZE   RUN     FUSION     LAST                      LAB FILE
lab    solo   2 of 2  simulated  up, 1970-01-01T00:00:01Z  /Users/me/labs/fusionlab.yaml
other  –      –       –          –                         –
third  1+3+2  1 of 6  13.6.3     destroy is at work        none: the built-in lab"
        );
    }

    #[test]
    fn a_run_that_came_to_no_good_end_is_told_as_such() {
        let told = |ended| {
            let line = lines(&[Row { last: Some(last(ended)), ..row("lab") }], "", 120).remove(1);
            line.split("  ").find(|cell| cell.contains("up")).unwrap().to_owned()
        };
        assert_eq!(told(Some(Ended::Interrupted)), "up interrupted, 1970-01-01T00:00:01Z");
        assert_eq!(told(Some(Ended::Failed)), "up failed, 1970-01-01T00:00:01Z");
        assert_eq!(told(Some(Ended::CutOff)), "up cut off, 1970-01-01T00:00:01Z");
        assert_eq!(told(None), "up, 1970-01-01T00:00:01Z");
    }

    #[test]
    fn narrow_terminals_have_the_files_below_and_cut_nothing() {
        let shown = lines(&[row("a-lab-of-many-words1"), row("lab")], "", 80);
        assert_eq!(shown[4], "LAB                   LAB FILE");
        assert!(
            shown.iter().all(|line| console::measure_text_width(line) <= 80 && !line.contains('…')),
            "{shown:#?}"
        );
        let narrow = lines(&[row("lab")], "", 60);
        assert!(
            narrow.iter().all(|line| console::measure_text_width(line) <= 60 && !line.contains('…')),
            "{narrow:#?}"
        );
    }

    #[test]
    fn only_a_lab_whose_file_is_gone_has_advice() {
        assert_eq!(lines(&[], "", 80), ["no labs yet: fusionlab init"]);
        assert_eq!(lines(&[], "--home x", 80), ["no labs yet: fusionlab --home x init"]);
        assert_eq!(lines(&[row("lab")], "", 120).len(), 2);
        let gone = Row { file_is: Some(FileState::Gone), ..row("mine") };
        let told = lines(&[row("lab"), gone.clone()], "--home x", 120);
        assert_eq!(
            told[3..],
            [
                "",
                "the lab file of mine is gone; one with its name is enough to take it down:",
                r"  printf 'version: 1\nname: mine\n' > mine.yaml",
                "  fusionlab --home x --lab mine.yaml destroy",
            ]
        );
        let other = Row { file_is: Some(FileState::AnotherLab), ..row("other") };
        let both = lines(&[gone, other], "", 120).join(" ");
        assert!(
            both.contains("another lab's now: /Users") && both.contains("likewise for the others"),
            "{both}"
        );
    }

    #[test]
    fn programs_are_told_of_each_field() {
        let told = serde_json::to_value(row("lab")).unwrap();
        assert_eq!(told["preset"], "solo");
        assert_eq!(told["file_is"], "there");
        assert_eq!(
            told["last"],
            serde_json::json!({ "verb": "up", "at": "1970-01-01T00:00:01Z", "ended": "done" })
        );
        assert_eq!(told["wanted"]["workers"], 0);
    }
}
