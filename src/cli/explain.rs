//! `fusionlab explain`: more about an error or a rule of the lab file.

use clap::Args;
use serde_json::json;

use super::calls;
use super::candidates;
use super::context::Context;
use super::error::catalogue::{self, Explained};
use super::error::{Failure, Report, Success};
use super::screen::table::{Cell, Table};
use super::terminal::{Ink, Pen};
use super::words;

/// The JSON form's schema; the number rises when a field changes its meaning or goes away.
const SCHEMA: &str = "fusionlab.explain/1";

/// Say more about an error or a rule of the lab file
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  fusionlab explain             all ids, with a line each
  fusionlab explain vm-runs     one of them at length")]
pub struct ExplainArgs {
    /// The id, as an error shows it; without one, all are listed
    #[arg(add = candidates::ids())]
    id: Option<String>,

    /// Print docs/errors.md
    #[arg(long, hide = true, conflicts_with = "id")]
    page: bool,
}

pub fn run(args: ExplainArgs, context: &Context) -> Result<Success, Failure> {
    let rules = calls::rules();
    let errors = catalogue::errors();
    let all = || errors.iter().chain(&rules);
    let tables = [("Errors", errors.as_slice()), ("Rules of the lab file", rules.as_slice())];
    if args.page {
        context.print([catalogue::page(&rules).trim_end()])?;
        return Ok(Success::Done);
    }
    let Some(id) = &args.id else {
        list(tables, context)?;
        return Ok(Success::Done);
    };
    let Some(explained) = all().find(|explained| explained.id == id) else {
        return Err(unknown(id, all()).into());
    };
    if context.json() {
        context.print_json(&json!({
            "schema": SCHEMA,
            "id": explained.id,
            "summary": explained.summary,
            "explanation": explained.explanation,
        }))?;
    } else {
        context.print(lines(explained, &context.terminal.out))?;
    }
    Ok(Success::Done)
}

/// Lists all ids in tables, each sorted and under its heading.
fn list(tables: [(&str, &[Explained]); 2], context: &Context) -> Result<(), Failure> {
    if context.json() {
        let all = tables.iter().flat_map(|(_, all)| *all);
        let ids: Vec<_> = all.map(|one| json!({ "id": one.id, "summary": one.summary })).collect();
        return context.print_json(&json!({ "schema": SCHEMA, "ids": ids }));
    }
    let pen = &context.terminal.out;
    let [first, second] = tables.map(|(heading, all)| {
        let mut table = Table::new(["ID", "MEANING"]).breaking();
        all.iter().for_each(|one| table.row([Cell::inked(Ink::Accent, one.id), Cell::plain(one.summary)]));
        [vec![pen.paint(Ink::Strong, heading)], table.lines(pen)].concat()
    });
    context.print([first, vec![String::new()], second].concat())
}

fn lines(explained: &Explained, pen: &Pen) -> Vec<String> {
    let (id, summary) = (pen.paint(Ink::Accent, explained.id), pen.paint(Ink::Strong, explained.summary));
    let room = explained.id.chars().count() + 2 + explained.summary.chars().count();
    let mut lines =
        if room <= pen.width { vec![format!("{id}: {summary}")] } else { vec![format!("{id}:"), summary] };
    lines.push(String::new());
    lines.extend(words::wrap(&pen.spelled(explained.explanation), pen.prose_width()));
    lines
}

fn unknown<'a>(id: &str, all: impl Iterator<Item = &'a Explained>) -> Report {
    let nearest = all
        .map(|one| (distance(id, one.id), one.id))
        .filter(|(distance, known)| *distance <= known.len() / 3 || known.contains(id))
        .min();
    let report = Report::usage(format!("there is no error and no rule named {id}"));
    match nearest {
        Some((_, nearest)) => report.advise("did you mean:").run(format!("fusionlab explain {nearest}")),
        None => report.advise("these are known:").run("fusionlab explain"),
    }
}

/// Returns how many letters have to be put in, taken out or replaced to make one word of the other (Levenshtein).
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (line, letter) in one.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], line + 1);
        for column in 0..other.len() {
            let replaced = diagonal + usize::from(letter != other[column]);
            diagonal = row[column + 1];
            row[column + 1] = replaced.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use super::super::error::Fix;
    use super::*;

    #[test]
    fn a_mistyped_id_is_answered_with_the_nearest() {
        assert_eq!(distance("kitten", "sitting"), 3);
        let errors = catalogue::errors();
        let fix = |id| unknown(id, errors.iter()).fix.pop().unwrap();
        assert_eq!(fix("fusion-not-fuond"), Fix::Run("fusionlab explain fusion-not-found".into()));
        assert_eq!(fix("digest"), Fix::Run("fusionlab explain digest-mismatch".into()));
        assert_eq!(fix("zzz"), Fix::Run("fusionlab explain".into()));
    }
}
