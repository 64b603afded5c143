//! `fusionlab names`: the lab's names, who answers for them, and how this Mac comes to ask.

use std::net::Ipv4Addr;

use clap::{Args, Subcommand};

use super::calls;
use super::context::{About, Context, Warnings};
use super::error::{Failure, Report, Success};
use super::screen::names as screen;
use super::wait::WaitArgs;
use crate::engine::access::names::Names;
use crate::host::resolver::{self, Change, ResolverFile};
use crate::lab::Lab;

/// The JSON form's schema; the number rises when a field changes its meaning or goes away.
const SCHEMA: &str = "fusionlab.names/1";

/// Show the lab's names, and how this Mac finds them
///
/// The gateways run a small name server that knows the lab's names and no others: every name below the lab's domain leads
/// to the VIP. With --resolver a Mac asks it for that domain, through one file in /etc/resolver; `destroy` removes it.
#[derive(Args, Debug)]
#[command(args_conflicts_with_subcommands = true)]
#[command(after_help = "Examples:
  fusionlab names                  the names, and who answers for them
  fusionlab names --resolver       have this Mac ask the lab for its domain
  fusionlab names --no-resolver    and not any more")]
pub struct NamesArgs {
    #[command(subcommand)]
    command: Option<NamesCommand>,

    /// Write /etc/resolver/<domain>: takes root, shown first
    #[arg(long, conflicts_with = "no_resolver")]
    resolver: bool,

    /// Remove it again, if it is the lab's
    #[arg(long)]
    no_resolver: bool,

    /// Do not ask
    #[arg(long, short)]
    yes: bool,

    #[command(flatten)]
    wait: WaitArgs,
}

#[derive(Subcommand, Debug)]
enum NamesCommand {
    /// The step that needs root: fusionlab runs itself with sudo, and checks all of it again
    #[command(hide = true)]
    ResolverAsRoot(AsRootArgs),
}

#[derive(Args, Debug)]
struct AsRootArgs {
    #[arg(long, value_name = "DOMAIN")]
    domain: String,

    #[arg(long, value_name = "NAME")]
    for_lab: String,

    #[arg(long, value_name = "ADDRESS", required_unless_present = "remove")]
    nameserver: Option<Ipv4Addr>,

    #[arg(long, conflicts_with = "nameserver")]
    remove: bool,
}

pub async fn run(args: NamesArgs, context: &Context) -> Result<Success, Failure> {
    if let Some(NamesCommand::ResolverAsRoot(args)) = args.command {
        return as_root(&args, context);
    }
    let lab = context.lab(None, Warnings::Untold)?;
    let fusion = calls::fusion(context).await?;
    let names = Names::new(lab.clone(), context.home.lab(&lab.name), fusion.clone());
    // A lab that is switched off answers when it runs again; one that was never made would leave a file that nobody answers for.
    if args.resolver && !names.has_keys() {
        return Err(Report::no_guests(&lab.name).into());
    }
    // `destroy` goes by the record of the file that was written.
    let changes = args.resolver || args.no_resolver;
    let _lock = if changes { Some(calls::hold_lab(context, &lab, "names", args.wait).await?) } else { None };
    match (args.resolver, args.no_resolver) {
        (true, _) => write(&names, args.yes, context).await?,
        (_, true) => remove(&names, args.yes, context).await?,
        _ => {}
    }
    show(&lab, &names, fusion.simulated, context).await
}

async fn show(lab: &Lab, names: &Names, simulated: bool, context: &Context) -> Result<Success, Failure> {
    let file = names.file()?;
    let found = file.look().map_err(Failure::from)?;
    let asked = names.example();
    let said = if names.is_made() { Some(names.ask(&asked).await) } else { None };
    let server = screen::Server { address: lab.internal.vip, asked, said };
    let flags = context.options.again();
    let command = ["fusionlab", &flags, "names --resolver"].into_iter().filter(|word| !word.is_empty());
    let command = command.collect::<Vec<_>>().join(" ");
    let seen = screen::Seen {
        command: &command,
        lab,
        simulated,
        file: &file.path(),
        found: &found,
        server: &server,
    };
    if context.json() {
        let mut json = screen::json(&seen);
        json["schema"] = SCHEMA.into();
        context.print_json(&json)?;
    } else {
        context.print(screen::lines(&seen, &context.terminal.out))?;
    }
    Ok(Success::Done)
}

async fn write(names: &Names, yes: bool, context: &Context) -> Result<(), Failure> {
    let file = names.file()?;
    let former = names.former()?.map(|former| (former, names.unwanted()));
    let wanted = names.wanted();
    let is_due = file.is_due(&wanted).map_err(Failure::from)?;
    let changes: Vec<_> = former.into_iter().chain(is_due.then_some((file, wanted))).collect();
    if changes.is_empty() {
        return Ok(());
    }
    for (file, change) in &changes {
        announce(file, change, !yes, context)?;
    }
    if !yes {
        context.go_on(About { said: &[], unsaid: Vec::new() }, "Do this?").await?;
    }
    names.write().await?;
    Ok(())
}

async fn remove(names: &Names, yes: bool, context: &Context) -> Result<(), Failure> {
    let files = names.removals()?;
    for file in &files {
        announce(file, &names.unwanted(), !yes, context)?;
    }
    if !files.is_empty() && !yes {
        context.go_on(About { said: &[], unsaid: Vec::new() }, "Do this?").await?;
    }
    names.remove().await?;
    Ok(())
}

/// Says what will become of a file, and by which command if that takes root; `asked` says whether a question follows.
pub fn announce(file: &ResolverFile, change: &Change, asked: bool, context: &Context) -> Result<(), Failure> {
    let command = if file.needs_root() { Some(file.root_command(change)?) } else { None };
    let lines = screen::announcement(&file.path(), change, command.as_deref(), &context.terminal.err);
    if asked || command.is_some() {
        context.show(lines);
    } else {
        context.say(lines);
    }
    Ok(())
}

/// Does what [`ResolverFile::root_command`] asks, after checking it from scratch.
fn as_root(args: &AsRootArgs, context: &Context) -> Result<Success, Failure> {
    let Some(app) = &context.options.fusion else {
        return Err(Report::usage("this step is fusionlab's own: it names the Fusion with --fusion")
            .advise("let fusionlab take it:")
            .run("fusionlab names --resolver")
            .into());
    };
    resolver::as_root(app, &args.domain, &args.for_lab, args.nameserver)?;
    Ok(Success::Done)
}
