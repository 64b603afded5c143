//! `fusionlab network show`: all of Fusion's networks, and what is on them.

use clap::Args;
use serde_json::json;

use crate::cli::calls;
use crate::cli::context::Context;
use crate::cli::error::{Failure, Report, Success};
use crate::cli::screen::networks;
use crate::cli::screen::opening::fusion_name;
use crate::formats::networking::Document;
use crate::host::HostError;

/// The JSON form's schema; the number rises when a field changes its meaning or goes away.
const SCHEMA: &str = "fusionlab.networks/2";

/// Show Fusion's networks, and who is on them
///
/// All networks, whoever made them; below each the machines that have a card on it, the addresses that are reserved,
/// those that are leased to somebody else now, and the ports that are forwarded. Changes nothing.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  fusionlab network show            all of them
  fusionlab network show --vmnet 2  one of them")]
pub struct ShowArgs {
    /// Only this network
    #[arg(long, value_name = "N")]
    vmnet: Option<u8>,
}

pub async fn run(args: ShowArgs, context: &Context) -> Result<Success, Failure> {
    let lab = calls::any_lab(context)?;
    let (fusion, survey) = calls::survey(context, &lab).await?;
    if let Some(Err(refusal)) = survey.bytes.as_deref().map(Document::parse) {
        let reason = format!("line {}: {}", refusal.line, refusal.reason);
        return Err(HostError::Content { path: survey.file, reason }.into());
    }
    let is_wanted = |number: u8| args.vmnet.is_none_or(|only| only == number);
    let networks: Vec<_> = survey.networks.iter().filter(|seen| is_wanted(seen.vmnet.number)).collect();
    if let (Some(only), []) = (args.vmnet, networks.as_slice()) {
        let all: Vec<String> =
            survey.networks.iter().map(|seen| format!("vmnet{}", seen.vmnet.number)).collect();
        let what = format!("there is no vmnet{only}");
        let report = Report::usage(what).at(survey.file.display().to_string());
        let report = match all.as_slice() {
            [] => report.because("Fusion has no networks yet"),
            all => report.because(format!("Fusion has {}", all.join(", "))),
        };
        return Err(report.advise("all that there are are shown by:").run("fusionlab network show").into());
    }
    if context.json() {
        let (user, mode) = survey.owner.unzip();
        context.print_json(&json!({
            "schema": SCHEMA,
            "simulated": fusion.simulated,
            "file": survey.file,
            "exists": survey.bytes.is_some(),
            "owner": user,
            "mode": mode.map(|mode| format!("{mode:04o}")),
            "window_open": survey.window_open,
            "unfinished": survey.unfinished.as_ref().map(|change| json!({ "vmnet": change.vmnet, "since": change.since })),
            "distrusted": survey.distrusted,
            "root": survey.root,
            "routes": survey.routes,
            "networks": networks::json(&survey, &networks, &lab),
        }))?;
        return Ok(Success::Done);
    }
    if fusion.simulated {
        context.say([fusion_name(&fusion, &context.terminal.err), String::new()]);
    }
    if networks.is_empty() {
        context.print([format!("{} names no network: Fusion was not started yet", survey.file.display())])?;
    } else {
        context.print(networks::lines(&survey, &networks, &lab, &context.terminal.out))?;
    }
    Ok(Success::Done)
}
