//! `fusionlab network`: Fusion's networks, a file for each thing that can be done with them.

mod apply;
mod backups;
mod plan;
mod restore;
mod root;
mod show;
mod sudoers;

use clap::{Args, Subcommand};

use super::calls::{NetworkVerb, Session};
use super::context::{About, Context, Warnings};
use super::error::{Failure, Success};
use super::report::summary::Summary;
use super::screen::network_plan::{self, Change};
use super::screen::opening;
use super::wait::WaitArgs;
use crate::host::fusion::Fusion;
use crate::lab::Lab;

/// Fusion's networks: show them, change them, put them back
#[derive(Args, Debug)]
#[command(subcommand_help_heading = "Verbs", subcommand_value_name = "VERB")]
#[command(after_help = "Examples:
  fusionlab network show          all networks, and who is on them
  fusionlab network plan          what the lab needs of Fusion's file
  fusionlab network apply         make it so
  fusionlab network restore       take the lab's lines out again")]
pub struct NetworkArgs {
    #[command(subcommand)]
    command: NetworkCommand,
}

#[derive(Subcommand, Debug)]
enum NetworkCommand {
    Show(show::ShowArgs),
    Plan(plan::PlanArgs),
    Apply(apply::ApplyArgs),
    Restore(restore::RestoreArgs),
    Backups(backups::BackupsArgs),
    Sudoers(sudoers::SudoersArgs),
    /// The step that needs root: fusionlab runs itself with sudo and a request that it checks again
    #[command(hide = true)]
    ApplyAsRoot(root::ApplyArgs),
    /// As apply-as-root, for a whole file from a backup
    #[command(hide = true)]
    RestoreAsRoot(root::RestoreArgs),
}

/// What a change of the networks came to.
struct Carried {
    lab: Lab,
    fusion: Fusion,
    summary: Summary,
    /// Whether there was anything to do.
    changed: bool,
}

/// Shows a change, asks unless told not to, becomes root if need be, and carries it out. `name` is written to the lock
/// and the journal.
async fn carry_out(
    name: &'static str,
    verb: NetworkVerb<'_>,
    yes: bool,
    wait: WaitArgs,
    context: &Context,
) -> Result<Carried, Failure> {
    let pen = &context.terminal.err;
    let lab = context.lab(None, Warnings::Untold)?;
    let session = Session::open_to_change(context, lab, name, wait).await?;
    let (lab, fusion) = (session.lab.clone(), session.fusion.clone());
    let mut said = [opening::lines(&lab, &fusion, pen), vec![String::new()]].concat();
    context.say(&said);
    let outlook = session.network_outlook(verb).await?;
    let change = Change::of(&outlook, &fusion.networking(), lab.internal.vmnet, verb);
    let shown = network_plan::lines(&change, pen);
    context.say(&shown);
    let changed = change.step.is_some();
    if changed {
        context.say([""]);
        if !yes {
            said.extend(shown);
            said.push(String::new());
            context.go_on(About { said: &said, unsaid: Vec::new() }, "Do this?").await?;
        }
    }
    let shown = !(yes && context.options.quiet);
    session.become_root(context, &outlook.plan, shown).await?;
    let (summary, failure) = session.carry_out(context, &outlook.plan).await;
    failure.map_or(Ok(Carried { lab, fusion, summary, changed }), Err)
}

pub async fn run(args: NetworkArgs, context: &Context) -> Result<Success, Failure> {
    match args.command {
        NetworkCommand::Show(args) => show::run(args, context).await,
        NetworkCommand::Plan(args) => plan::run(args, context).await,
        NetworkCommand::Apply(args) => apply::run(args, context).await,
        NetworkCommand::Restore(args) => restore::run(args, context).await,
        NetworkCommand::Backups(args) => backups::run(args, context).await,
        NetworkCommand::Sudoers(args) => sudoers::run(args, context).await,
        NetworkCommand::ApplyAsRoot(args) => root::apply(args, context).await,
        NetworkCommand::RestoreAsRoot(args) => root::restore(args, context).await,
    }
}
