//! `fusionlab template build`: the lab's template, without its machines.

use clap::Args;
use serde_json::json;

use crate::cli::calls::{self, Outlook, Session, TEMPLATE_BUILD};
use crate::cli::context::{About, Context, Warnings};
use crate::cli::error::{Failure, Success};
use crate::cli::init::PresetName;
use crate::cli::screen::{opening, plan, templates, timings};
use crate::cli::wait::WaitArgs;
use crate::formats::figures;
use crate::plan::text::Detail;

/// The JSON form's schema; the number rises when a field changes its meaning or goes away.
const SCHEMA: &str = "fusionlab.templatebuild/1";

/// Make the lab's template, and no machine yet
///
/// Downloads the cloud image, writes the template's disk, lets it install its packages and images once, checks what was
/// installed and freezes it. What was finished is not done again. Labs that ask for the same share the template.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  fusionlab template build              the lab's, if it is not there
  fusionlab template build --rebuild    remove it first, and make it anew")]
pub struct BuildArgs {
    /// Remove a template that is there, and make it anew
    #[arg(long)]
    rebuild: bool,

    /// Do not ask
    #[arg(long, short)]
    yes: bool,

    #[command(flatten)]
    wait: WaitArgs,

    /// The lab's size; it comes before the lab file's, and before the one that the lab remembers
    #[arg(long, value_enum, value_name = "PRESET")]
    preset: Option<PresetName>,

    /// Print where the time went, step by step
    #[arg(long)]
    timings: bool,
}

pub async fn run(args: BuildArgs, context: &Context) -> Result<Success, Failure> {
    let pen = &context.terminal.err;
    let lab = context.lab(args.preset, Warnings::Untold)?;
    let session = Session::open_to_change(context, lab, TEMPLATE_BUILD, args.wait).await?;
    let (lab, fusion) = (session.lab.clone(), session.fusion.clone());
    let opening = [opening::lines(&lab, &fusion, pen), vec![String::new()]].concat();
    context.say(&opening);
    let Outlook { facts, plan: steps } = session.template_outlook(args.rebuild).await?;
    if !steps.is_empty() && !args.yes {
        let unsaid = plan::lines(&steps, &lab, Detail::Brief, pen);
        context.go_on(About { said: &opening, unsaid }, "Do this?").await?;
    }
    let (summary, failure) = session.carry_out(context, &steps).await;
    if args.timings {
        context.say(timings::lines(&summary, pen));
        context.say([""]);
    }
    if let Some(failure) = failure {
        return Err(failure);
    }
    // What stands is looked at anew: that, and not what the steps said, is told.
    let line = calls::templates(context).await?.into_iter().find(|line| line.key == facts.template.key);
    if context.json() {
        context.print_json(&json!({
            "schema": SCHEMA,
            "simulated": fusion.simulated,
            "took": figures::seconds(summary.took),
            "changed": summary.done().1,
            "template": line,
        }))?;
    } else if let Some(line) = line {
        context.say(templates::ready(&line, summary.took, summary.done().1, &context.options.again(), pen));
    }
    Ok(Success::Done)
}
