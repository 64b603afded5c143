//! `fusionlab verify`: the proof, hop by hop.

use clap::Args;
use serde_json::json;

use super::calls::Session;
use super::context::{Context, Warnings};
use super::error::{Failure, Kind, Report, Success};
use super::screen::{opening, verify};

/// The JSON form's schema; the number rises when a field changes its meaning or goes away.
const SCHEMA: &str = "fusionlab.verify/1";

/// Prove that the lab does what it should, hop by hop
///
/// Follows a packet from the VIP to a pod and compares every hop with the lab file. Changes nothing. Exits with 10
/// if a check fails.
#[derive(Args, Debug)]
pub struct VerifyArgs {}

pub async fn run(_args: VerifyArgs, context: &Context) -> Result<Success, Failure> {
    let lab = context.lab(None, Warnings::Untold)?;
    let session = Session::open(context, lab, "verify").await?;
    let (lab, fusion) = (session.lab.clone(), session.fusion.clone());
    context.say(opening::lines(&lab, &fusion, &context.terminal.err));
    context.say([""]);
    let checks = session.verify(context).await?;
    let failed: Vec<_> = checks.iter().filter(|check| !check.passed).collect();
    if context.json() {
        context.print_json(&json!({
            "schema": SCHEMA,
            "lab": lab.name,
            "simulated": fusion.simulated,
            "passed": failed.is_empty(),
            "checks": checks,
        }))?;
    } else {
        context.print(verify::lines(&checks, &context.terminal.out))?;
    }
    match failed.first() {
        None => Ok(Success::Done),
        Some(first) => {
            let what = format!("{} of {} checks failed", failed.len(), checks.len());
            Err(Report::new("verification-failed", Kind::Verification, what)
                .at(first.check.clone())
                .because(format!("the first that failed: {}", first.detail))
                .advise("see what stands, then let up put it right:")
                .run("fusionlab status")
                .run("fusionlab up")
                .into())
        }
    }
}
