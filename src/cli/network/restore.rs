//! `fusionlab network restore`: the lab's lines out of Fusion's networking file, or the whole file as it was.

use clap::Args;
use serde_json::json;

use super::{Carried, carry_out};
use crate::cli::calls::{self, NetworkVerb};
use crate::cli::candidates;
use crate::cli::context::Context;
use crate::cli::error::{Failure, Report, Success};
use crate::cli::screen::network_plan;
use crate::cli::wait::WaitArgs;
use crate::formats::figures;

/// The JSON form's schema; the number rises when a field changes its meaning or goes away.
const SCHEMA: &str = "fusionlab.networkrestore/1";

/// Take the lab's lines out of Fusion's networking file, or put a backup back
///
/// Without a name only this lab's lines go, whatever else was changed since; if nothing was, the file is to the byte
/// what it was. With the name of a backup the whole file is put back, and what was changed since is lost.
#[derive(Args, Debug)]
// A word behind --wait is a backup.
#[command(mut_arg("wait", |wait| wait.require_equals(true)))]
#[command(after_help = "Examples:
  fusionlab network restore              the lab's lines, and nothing else
  fusionlab network backups              what there is to put back
  fusionlab network restore 20260801     the only backup of that day, whole")]
pub struct RestoreArgs {
    /// The beginning of a backup's name or digest, if there is only one
    #[arg(add = candidates::backups(), value_name = "BACKUP")]
    backup: Option<String>,

    /// Do not ask
    #[arg(long, short)]
    yes: bool,

    #[command(flatten)]
    wait: WaitArgs,
}

/// Backups that are named where none is meant: the newest, no more than the eye takes in.
const NAMED: usize = 5;

pub async fn run(args: RestoreArgs, context: &Context) -> Result<Success, Failure> {
    if let Some(wanted) = &args.backup
        && let Some(report) = none_meant(wanted, &calls::backup_names(&context.home))
    {
        return Err(report.into());
    }
    let verb = args.backup.as_deref().map_or(NetworkVerb::Undo, NetworkVerb::PutBack);
    let Carried { lab, fusion, summary, changed } =
        carry_out("network restore", verb, args.yes, args.wait, context).await?;
    if context.json() {
        context.print_json(&json!({
            "schema": SCHEMA,
            "lab": lab.name,
            "simulated": fusion.simulated,
            "took": figures::seconds(summary.took),
            "changed": summary.done().1,
            "backup": args.backup,
        }))?;
    } else if changed {
        context.say(network_plan::is_back(args.backup.as_deref(), summary.took, &context.terminal.err));
    }
    Ok(Success::Done)
}

/// Returns what is told, with the names of those that there are, if no backup is meant by what was typed, or several are.
fn none_meant(wanted: &str, names: &[String]) -> Option<Report> {
    let digest = |name: &str| name.rsplit_once('-').map(|(_, digest)| digest.to_owned()).unwrap_or_default();
    let is_meant = |name: &&String| {
        // A whole digest is longer than what of it stands in the name.
        let digest = digest(name);
        name.starts_with(wanted)
            || digest.starts_with(wanted)
            || (!digest.is_empty() && wanted.starts_with(&digest))
    };
    let meant: Vec<&String> = names.iter().filter(is_meant).collect();
    let is_exact = meant.iter().any(|name| *name == wanted);
    let digests: std::collections::BTreeSet<String> = meant.iter().map(|name| digest(name)).collect();
    let (what, shown) = match (meant.len(), digests.len()) {
        _ if names.is_empty() => {
            return Some(Report::usage("there are no backups")
                .because("fusionlab has not changed Fusion's networking file, or keeps its files elsewhere (--home)")
                .advise("only the lab's own lines can be taken out:")
                .run("fusionlab network restore"));
        }
        (0, _) => (format!("there is no backup {wanted:?}"), names.iter().collect()),
        (number, 2..) if !is_exact => (format!("{number} backups begin with {wanted:?}"), meant),
        _ => return None,
    };
    let newest = shown.iter().take(NAMED).map(|name| name.as_str()).collect::<Vec<_>>().join(", ");
    let words = match shown.len().saturating_sub(NAMED) {
        0 => format!("there {} {newest}", if shown.len() == 1 { "is" } else { "are" }),
        more => format!("there are {newest}, and {more} more"),
    };
    Some(
        Report::usage(what)
            .advise(words)
            .advise("what each would change is told by:")
            .run("fusionlab network backups"),
    )
}

#[cfg(test)]
mod tests {
    use super::super::super::error::Fix;
    use super::*;

    #[test]
    fn a_name_that_means_no_backup_or_several_is_answered_with_those_that_there_are() {
        let names: Vec<String> =
            ["20260802T100000Z-bbbb11112222", "20260801T100000Z-aaaa11112222"].map(Into::into).into();
        for wanted in ["20260801", "aaaa", "aaaa1111222233334444", "20260802T100000Z-bbbb11112222"] {
            assert_eq!(none_meant(wanted, &names), None, "{wanted}");
        }
        let told = |wanted: &str, names: &[String]| {
            let report = none_meant(wanted, names).unwrap();
            (report.what.clone(), report.fix[0].clone())
        };
        let (what, Fix::Say(words)) = told("nosuch", &names) else { panic!("it is said in words") };
        assert_eq!(what, "there is no backup \"nosuch\"");
        assert_eq!(words, "there are 20260802T100000Z-bbbb11112222, 20260801T100000Z-aaaa11112222");
        assert_eq!(told("2026", &names).0, "2 backups begin with \"2026\"");
        assert_eq!(told("x", &[]).0, "there are no backups");
        let many: Vec<String> = (0..9).map(|day| format!("2026080{day}T100000Z-{day:012}")).collect();
        let (_, Fix::Say(words)) = told("x", &many) else { panic!("it is said in words") };
        assert!(words.ends_with(", and 4 more"), "{words}");
    }
}
