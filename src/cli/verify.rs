//! `fusionlab verify`: the proof, hop by hop.

use clap::builder::{PossibleValue, StringValueParser, TypedValueParser};
use clap::{Arg, Args, Command};
use serde_json::json;

use super::calls::{self, Session};
use super::context::{Context, Warnings};
use super::error::{Failure, Report, Success};
use super::options::OutputForm;
use super::screen::junit;
use super::screen::verify::{self, Tally};
use super::screen::{opening, verify as screen};
use crate::engine::verify::unproven;
use crate::lab::Lab;
use crate::lab::spec::closest;
use crate::stack::checks::{self, Check, Hop};

/// The JSON forms' schemas; the number rises when a field changes its meaning or goes away.
const SCHEMA: &str = "fusionlab.verify/1";
const LIST_SCHEMA: &str = "fusionlab.checks/1";

/// Prove that the lab does what it should, hop by hop
///
/// Follows a packet from the VIP to a pod and compares every hop with the lab file. Changes nothing. Exits with 10
/// if a check fails.
#[derive(Args, Debug)]
#[command(after_help = "Hops: machines, gateways, control-plane, pod-network, cluster-entry,
end-to-end.

Examples:
  fusionlab verify
  fusionlab verify --only gateways --only lan.https
  fusionlab verify --list
  fusionlab verify --output junit > proof.xml")]
pub struct VerifyArgs {
    /// Only this check, those of this hop, or those whose ids begin so: lan.https, gateways, lan; may be repeated
    #[arg(long, value_name = "ID|HOP", value_parser = Selectable, hide_possible_values = true)]
    only: Vec<String>,

    /// List the checks of this lab; nothing is asked
    #[arg(long)]
    list: bool,
}

/// Takes any word, which is looked at together with the lab, and names the known ones to the shells.
#[derive(Clone)]
struct Selectable;

impl TypedValueParser for Selectable {
    type Value = String;

    fn parse_ref(
        &self,
        command: &Command,
        arg: Option<&Arg>,
        value: &std::ffi::OsStr,
    ) -> Result<String, clap::Error> {
        StringValueParser::new().parse_ref(command, arg, value)
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        let (lab, _) = calls::resolve(None, None).ok()?;
        let known: Vec<_> = selectable(&checks::all(&lab)).into_iter().map(PossibleValue::new).collect();
        Some(Box::new(known.into_iter()))
    }
}

pub async fn run(args: VerifyArgs, context: &Context) -> Result<Success, Failure> {
    let lab = context.lab(None, Warnings::Untold)?;
    let chosen = chosen(checks::all(&lab), &args.only)?;
    if args.list {
        if context.options.output == OutputForm::Junit {
            return Err(Report::usage("a list has no JUnit form: nothing is proven by it")
                .advise("leave --list out to run the checks, or list them as JSON:")
                .run("fusionlab verify --list --output json")
                .into());
        }
        return list(&lab, &chosen, context);
    }
    let session = Session::open(context, lab, "verify").await?;
    let (lab, fusion) = (session.lab.clone(), session.fusion.clone());
    if context.options.output == OutputForm::Text {
        context.say(opening::lines(&lab, &fusion, &context.terminal.err));
        context.say([""]);
    }
    let checks = session.verify(context, chosen).await?;
    let Tally { failed, not_asked } = Tally::of(&checks);
    let is_proven = failed.is_empty() && not_asked.is_empty();
    match context.options.output {
        OutputForm::Json => context.print_json(&json!({
            "schema": SCHEMA,
            "lab": lab.name,
            "simulated": fusion.simulated,
            "passed": is_proven,
            "checks": checks,
        }))?,
        OutputForm::Junit => context.print(junit::lines(&lab.name, &checks))?,
        OutputForm::Text => {
            context.print(screen::lines(&checks, &context.options.again(), &context.terminal.out))?
        }
    }
    let Some(first) = failed.first().or(not_asked.first()) else { return Ok(Success::Done) };
    let what = unproven(failed.len(), not_asked.len(), checks.len());
    let why = match failed.is_empty() {
        true => first.detail.clone(),
        false => format!("the first that failed: {}", first.detail),
    };
    Err(Report::unproven(what).at(first.check.clone()).because(why).into())
}

fn list(lab: &Lab, chosen: &[Check], context: &Context) -> Result<Success, Failure> {
    if context.json() {
        let check = |check: &Check| json!({ "id": check.id, "hop": check.hop.id(), "title": check.title, "hint": check.hint.to_string() });
        let all: Vec<_> = chosen.iter().map(check).collect();
        context.print_json(&json!({ "schema": LIST_SCHEMA, "lab": lab.name, "checks": all }))?;
    } else {
        context.print(verify::listed(chosen, &context.terminal.out))?;
    }
    Ok(Success::Done)
}

/// Returns every word that `--only` takes.
fn selectable(checks: &[Check]) -> Vec<&'static str> {
    let mut words: Vec<&'static str> = Hop::ALL.iter().map(|hop| hop.id()).collect();
    for check in checks {
        for word in [area(check.id), check.id] {
            if !words.contains(&word) {
                words.push(word);
            }
        }
    }
    words
}

/// Returns an id's first word, which is the same for checks of one subject.
fn area(id: &'static str) -> &'static str {
    id.split('.').next().unwrap_or(id)
}

/// Keeps what was asked for; all, if nothing was.
fn chosen(mut checks: Vec<Check>, only: &[String]) -> Result<Vec<Check>, Failure> {
    let known = selectable(&checks);
    for word in only {
        if !known.contains(&word.as_str()) {
            let report = Report::usage(format!("there is no check and no hop {word}"));
            let report = match closest(word, known.iter().copied()) {
                Some(meant) => report.advise("did you mean:").run(format!("fusionlab verify --only {meant}")),
                None => report.advise("these are known:").run("fusionlab verify --list"),
            };
            return Err(report.into());
        }
    }
    if !only.is_empty() {
        checks.retain(|check| {
            only.iter().any(|word| [check.id, area(check.id), check.hop.id()].contains(&word.as_str()))
        });
    }
    Ok(checks)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::error::Kind;
    use crate::cli::screen::status::tests::lab;

    fn ids(only: &[&str]) -> Vec<&'static str> {
        let only: Vec<String> = only.iter().map(|word| (*word).to_owned()).collect();
        chosen(checks::all(&lab()), &only).unwrap().iter().map(|check| check.id).collect()
    }

    #[test]
    fn checks_and_hops_are_chosen_by_name_in_the_journeys_order() {
        assert_eq!(ids(&["lan.https", "etcd.members"]), ["etcd.members", "lan.https"]);
        let of_lan: Vec<_> = ids(&[]).into_iter().filter(|id| id.starts_with("lan.")).collect();
        assert_eq!(ids(&["lan"]), of_lan);
        assert!(ids(&["gateways"]).iter().all(|id| id.starts_with("gateway.")));
        assert_eq!(ids(&[]).len(), checks::all(&lab()).len());
    }

    #[test]
    fn a_misspelt_check_is_not_passed_over() {
        let failure = chosen(checks::all(&lab()), &["lan.htps".to_owned()]).unwrap_err();
        assert_eq!(failure.kind(), Kind::Usage);
        let Failure::Report(report) = failure else { panic!("not a report") };
        assert!(format!("{report:?}").contains("--only lan.http"), "{report:?}");
    }

    #[test]
    fn the_help_names_every_hop() {
        let help = VerifyArgs::augment_args(Command::new("verify")).render_long_help().to_string();
        for hop in Hop::ALL {
            assert!(help.contains(hop.id()), "{}", hop.id());
        }
        assert!(!help.contains("possible values"), "{help}");
    }
}
