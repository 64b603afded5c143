//! `fusionlab doctor`: whether this machine is fit for the lab.

use clap::Args;
use serde_json::json;

use super::calls;
use super::context::{Context, Warnings};
use super::error::{Failure, Kind, Report, Success};
use super::screen::doctor::{self, Place};
use crate::plan::health::State;

/// The JSON form's schema; the number rises when a field changes its meaning or goes away.
const SCHEMA: &str = "fusionlab.doctor/1";

/// Check whether this machine is fit for the lab
///
/// Looks at Fusion, this Mac, Fusion's networks and the labs on this Mac, and says of each thing that is not well what to do
/// about it. Changes nothing. Exits with 4 if a check fails, with 0 if there are only warnings, or things that this system does
/// not tell.
#[derive(Args, Debug)]
pub struct DoctorArgs {}

pub async fn run(_args: DoctorArgs, context: &Context) -> Result<Success, Failure> {
    let lab = context.lab(None, Warnings::Untold)?;
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
