//! `fusionlab doctor`: whether this Mac is fit for the lab.

use clap::Args;
use serde_json::json;

use super::calls;
use super::context::{About, Context, Warnings};
use super::error::{Failure, Kind, Report, Success};
use super::screen::doctor::{self, Place};
use crate::plan::health::State;

/// The JSON form's schema; the number rises when a field changes its meaning or goes away.
const SCHEMA: &str = "fusionlab.doctor/1";

/// Check whether this Mac is fit for the lab
///
/// Looks at Fusion, this Mac, Fusion's networks and the labs on this Mac, and says of each thing that is not well what to do
/// about it. Changes nothing without --fix. Exits with 4 if a check fails, with 0 if there are only warnings, or things that
/// this system does not tell.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  fusionlab doctor                 look, and change nothing
  fusionlab doctor --fix           ask, and put away what killed runs left
  fusionlab doctor --output json   for programs")]
pub struct DoctorArgs {
    /// First put right what is safe: nothing of it needs a password, and nothing that anybody made is lost
    #[arg(long)]
    fix: bool,

    /// Do not ask
    #[arg(long, short, requires = "fix")]
    yes: bool,
}

pub async fn run(args: DoctorArgs, context: &Context) -> Result<Success, Failure> {
    let lab = context.lab(None, Warnings::Untold)?;
    let fixed = if args.fix { put_right(context, args.yes).await? } else { Vec::new() };
    let (fusion, groups) = calls::checkup(context, &lab).await?;
    let options = context.options.again();
    let place = Place { fusion: fusion.as_ref(), options: &options };
    let counts = doctor::counts(&groups);
    if context.json() {
        context.print_json(&json!({
            "schema": SCHEMA,
            "lab": lab.name,
            "simulated": fusion.as_ref().is_some_and(|fusion| fusion.simulated),
            "passed": counts.failed == 0,
            "warnings": counts.warned,
            "failures": counts.failed,
            "unknown": counts.unknown,
            "fixed": fixed,
            "checks": doctor::json(&groups, &place),
        }))?;
    } else {
        context.print(doctor::lines(&groups, &place, &context.terminal.out))?;
    }
    let first = groups.iter().flat_map(|group| &group.checks).find(|check| check.state == State::Fail);
    match first {
        None => Ok(Success::Done),
        Some(first) => {
            let what = format!("{} of {} checks failed", counts.failed, counts.all);
            let report = Report::new("doctor-failed", Kind::HostCheck, what);
            let because = format!("the first that failed: {}", first.detail);
            Err(report.at(first.id).because(because).advise("do what stands below each that failed").into())
        }
    }
}

/// Puts right what is safe, and returns in words what was done; what remains is for the checks to tell.
async fn put_right(context: &Context, yes: bool) -> Result<Vec<String>, Failure> {
    let pen = &context.terminal.err;
    let Some(left) = calls::left_behind(context).await? else { return Ok(Vec::new()) };
    let mut repairs = left.repairs();
    if repairs.is_empty() {
        context.say(["There is nothing that could be put right without you.", ""]);
        return Ok(repairs);
    }
    if !yes {
        let unsaid = doctor::repairs("This will be done:", &repairs, pen);
        context.go_on(About { said: &[], unsaid }, "Do this?").await?;
    }
    calls::mend(context)?;
    // What is there still was not done, whatever was tried.
    let still = calls::left_behind(context).await?.map(|left| left.repairs()).unwrap_or_default();
    repairs.retain(|repair| !still.contains(repair));
    context.say(doctor::repairs("This was done:", &repairs, pen));
    context.say([""]);
    Ok(repairs)
}
