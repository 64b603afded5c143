//! `fusionlab destroy`: the Mac as it was before.

use clap::Args;
use serde_json::json;

use super::calls::{self, Outlook, Session};
use super::context::{About, Context, Warnings};
use super::error::{Failure, Success};
use super::screen::{closing, confirm, opening};
use super::wait::WaitArgs;
use super::{names, words};
use crate::engine::access::names::Names;
use crate::engine::context::DESTROY;
use crate::formats::figures;
use crate::plan::facts::{Facts, VmState};
use crate::plan::step::{Action, Plan};

/// The JSON form's schema; the number rises when a field changes its meaning or goes away.
const SCHEMA: &str = "fusionlab.destroy/1";

/// Take the lab down and leave the Mac as it was
///
/// Deletes the lab's machines, takes its lines out of Fusion's networking file and removes its folder. Machines that
/// do not bear the lab's mark are not touched. The template and downloads stay for the next lab.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  fusionlab destroy          asks for the lab's name
  fusionlab destroy --yes    does not ask")]
pub struct DestroyArgs {
    /// Do not ask for the lab's name
    #[arg(long, short)]
    yes: bool,

    #[command(flatten)]
    wait: WaitArgs,

    /// Remove the templates that no lab uses, too
    #[arg(long)]
    all: bool,
}

pub async fn run(args: DestroyArgs, context: &Context) -> Result<Success, Failure> {
    let pen = &context.terminal.err;
    let lab = context.lab(None, Warnings::Untold)?;
    let session = Session::open_to_change(context, lab, DESTROY, args.wait).await?;
    let (lab, simulated) = (session.lab.clone(), session.fusion.simulated);
    let opening = [opening::lines(&lab, &session.fusion, pen), vec![String::new()]].concat();
    context.say(&opening);
    let Outlook { facts, plan } = session.outlook(true).await?;
    let nothing = plan.is_empty();
    if !nothing && !args.yes {
        let unsaid = confirm::destroy_warning(&lab.name, &machines(&facts), pen);
        context.typed(About { said: &opening, unsaid }, "Type the lab's name to go on", &lab.name).await?;
    }
    announce_names(&session, &plan, context)?;
    session.become_root(context, &plan, false).await?;
    let (summary, failure) = session.carry_out(context, &plan).await;
    if let Some(failure) = failure {
        return Err(failure);
    }
    let pruned = if args.all {
        calls::prune(context, args.wait.patience(&lab.limits)).await?.templates
    } else {
        Vec::new()
    };
    if context.json() {
        let took = figures::seconds(summary.took);
        let changed = summary.done().1;
        let templates: Vec<&str> = pruned.iter().map(|template| template.key.as_str()).collect();
        context.print_json(&json!({
            "schema": SCHEMA,
            "lab": lab.name,
            "simulated": simulated,
            "took": took,
            "changed": changed,
            "templates_removed": templates,
        }))?;
        return Ok(Success::Done);
    }
    if nothing {
        context.say([format!("nothing of the lab \"{}\" is here; nothing had to be done", lab.name)]);
    } else {
        context.say(closing::gone(&lab.name, summary.took, pen));
    }
    if !pruned.is_empty() {
        context.say([format!("{} removed", words::count(pruned.len(), "template"))]);
    }
    Ok(Success::Done)
}

/// Says beforehand what takes root besides Fusion's networks: the file of the lab's domain.
fn announce_names(session: &Session, plan: &Plan, context: &Context) -> Result<(), Failure> {
    if !plan.steps.iter().any(|step| matches!(step.action, Action::RemoveResolver { .. })) {
        return Ok(());
    }
    let names = Names::new(session.lab.clone(), context.home.lab(&session.lab.name), session.fusion.clone());
    for file in names.removals()?.iter().filter(|file| file.needs_root()) {
        names::announce(file, &names.unwanted(), false, context)?;
    }
    Ok(())
}

fn machines(facts: &Facts) -> Vec<&str> {
    let ours = facts.vms.iter().filter(|(_, vm)| vm.state == VmState::Ours);
    ours.map(|(name, _)| name.as_str()).collect()
}
