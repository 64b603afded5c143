//! What a support bundle holds, part by part, what it lacks, and what to do before it is sent.

use std::path::Path;

use super::table::{Cell, Table, labelled};
use crate::cli::calls::Bundle;
use crate::cli::quoted;
use crate::cli::terminal::{Ink, Pen};
use crate::cli::words;

/// What each part of a bundle is; the first that a path begins with counts.
const PARTS: [(&str, &str); 11] = [
    ("about.json", "versions, and this Mac"),
    (CONTENTS, "a list of all this"),
    ("lab-file", "the lab file"),
    ("status.", "the lab as it was seen"),
    ("plan.txt", "what up would do"),
    ("doctor.txt", "doctor's findings"),
    ("lab/", "the lab's journal and records"),
    ("runs/", "what its runs printed"),
    ("template-builds/", "what builds of its template printed"),
    ("fusion/", "Fusion's networks"),
    ("machines/", "VMX files, consoles, Fusion's logs"),
];
/// Lists the others, so it is always there.
const CONTENTS: &str = "contents.txt";
const GUESTS: &str = "the guests' logs";

/// Returns what can be left out of a bundle, and what that is: folders and files that have one name in every bundle.
pub fn parts() -> impl Iterator<Item = (&'static str, &'static str)> {
    let named = PARTS.iter().filter(|(name, _)| name.ends_with('/') || name.ends_with(".txt"));
    let named = named.filter(|(name, _)| *name != CONTENTS);
    named.map(|(name, what)| (name.trim_end_matches('/'), *what)).chain([("guests", GUESTS)])
}

/// Says that it takes a while.
pub fn opening(pen: &Pen) -> Vec<String> {
    words::wrap("gathering; machines that do not answer are waited for a little", pen.prose_width())
}

/// Returns a line for each part, what is missing, and what to do with the file.
pub fn lines(bundle: &Bundle, file: &Path, bytes: u64, pen: &Pen) -> Vec<String> {
    let mut lines = vec![String::new()];
    lines.extend(table(bundle).lines(pen));
    if !bundle.missing.is_empty() {
        lines.extend([String::new(), pen.paint(Ink::Strong, "Not in it")]);
        lines.extend(labelled(bundle.missing.iter().map(|lack| (lack.what.as_str(), lack.why.clone())), pen));
    }
    let text = format!(
        "The lab's keys and tokens were taken out, and all of it was searched for them once more. Names, addresses and what \
         machines printed are still in it. It takes {}, and you alone may read it. Look through it before you send it:",
        words::bytes(bytes)
    );
    lines.push(String::new());
    lines.extend(words::wrap(&text, pen.prose_width()));
    lines.push(format!("  {}", pen.paint(Ink::Accent, &format!("tar xzf {}", quoted(file)))));
    lines.push(String::new());
    lines
}

fn table(bundle: &Bundle) -> Table {
    let mut table = Table::new(["HOLDS", ">FILES", ">SIZE"]);
    let part_of =
        |path: &str| PARTS.iter().find(|(start, _)| path.starts_with(start)).map_or(GUESTS, |part| part.1);
    for part in PARTS.iter().map(|part| part.1).chain([GUESTS]) {
        let sizes = bundle.pieces.iter().filter(|piece| part_of(&piece.path) == part);
        let (files, bytes) =
            sizes.fold((0, 0), |(files, bytes), piece| (files + 1, bytes + piece.content.len()));
        if files > 0 {
            table.row([
                Cell::plain(part),
                Cell::plain(files.to_string()),
                Cell::plain(words::bytes(bytes as u64)),
            ]);
        }
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::home::support::Missing;
    use crate::stack::support::Piece;

    #[test]
    fn each_part_is_a_line_and_what_is_missing_is_said_with_the_reason() {
        let piece = |path: &str, bytes| Piece { path: path.to_owned(), content: vec![0; bytes] };
        let bundle = Bundle {
            lab: "lab".to_owned(),
            simulated: Some(true),
            name: "support".to_owned(),
            pieces: vec![
                piece("about.json", 500),
                piece("runs/1/a.log", 1024),
                piece("runs/1/b.log", 1024),
                piece("guests/gateway1.log", 10),
            ],
            missing: vec![Missing {
                what: "guests/k8s-worker1.log".into(),
                why: "k8s-worker1 is off".into(),
            }],
        };
        let lines = lines(&bundle, Path::new("a b.tar.gz"), 2048, &Pen::plain(60));
        assert_eq!(
            lines,
            [
                "",
                "HOLDS                   FILES   SIZE",
                "versions, and this Mac      1  500 B",
                "what its runs printed       2  2 KiB",
                "the guests' logs            1   10 B",
                "",
                "Not in it",
                "guests/k8s-worker1.log  k8s-worker1 is off",
                "",
                "The lab's keys and tokens were taken out, and all of it was",
                "searched for them once more. Names, addresses and what",
                "machines printed are still in it. It takes 2 KiB, and you",
                "alone may read it. Look through it before you send it:",
                "  tar xzf 'a b.tar.gz'",
                "",
            ]
        );
    }
}
