//! `fusionlab init`: a lab file to begin with, by a size alone, by questions, or by options.
//!
//! ```text
//! calls.rs ─▶ Seen ─┬─▶ wizard.rs: asks, on a terminal ──╮
//!                   │                                    ├─▶ Answers ─▶ write.rs: file, and the same command
//!                   ╰─▶ told.rs: options and what is here╯
//!              check.rs judges each answer, defaults.rs proposes it; both are pure
//! ```

pub mod answers;
mod calls;
pub mod check;
pub mod defaults;
#[cfg(test)]
mod tests;
mod told;
mod wizard;
mod write;

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use serde_json::json;

use super::calls as verbs;
use super::candidates;
use super::context::{Context, LAB_FILE};
use super::error::{Failure, Kind, LabFileProblems, Report, Success};
use super::options::Options;
use super::screen::topology::{self, Diagram};
use super::screen::{init as screen, plan, problems, prompt, table};
use super::terminal::Ink;
use super::up::UpArgs;
use super::words;
use crate::host::HostError;
use crate::lab::Lab;
use crate::plan::text::Detail;
use answers::{Answers, Given, Seen};
pub use calls::{home_networks, root_of_fusion};

/// Sizes of labs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum PresetName {
    /// 2 gateways, 3 control planes, 2 workers: the networking document
    Ha,
    /// 1 gateway, 1 control plane, 1 worker
    Small,
    /// 1 gateway, 1 control plane that also runs applications
    Solo,
}

/// The JSON form's schema; the number rises when a field changes its meaning or goes away.
const SCHEMA: &str = "fusionlab.init/1";
/// Stands for standard output.
const STDOUT: &str = "-";

/// Ask what a lab needs to know, and write its lab file
///
/// On a terminal it asks eight questions, each with what was found here as the usual answer, and writes the file at the
/// end; options answer a question beforehand. With --yes it asks nothing and takes what was found. With --preset alone it
/// writes the networking document's addresses. A file that exists is not overwritten.
#[derive(Args, Debug, Default)]
#[command(after_help = "Examples:
  fusionlab init                               the questions
  fusionlab init --yes                         what is found here, unasked
  fusionlab init --preset small                that size, as in the document
  fusionlab init --lan 192.168.1.0/24 --yes    that network, the rest as found")]
pub struct InitArgs {
    /// The lab's size
    #[arg(long, value_enum, value_name = "PRESET")]
    preset: Option<PresetName>,

    /// The home network's subnet, such as 192.168.1.0/24
    #[arg(long, value_name = "SUBNET")]
    lan: Option<String>,

    /// The home network's router
    #[arg(long, value_name = "ADDRESS")]
    router: Option<String>,

    /// The gateways' DNS servers, with commas
    #[arg(long, value_name = "ADDRESSES")]
    dns: Option<String>,

    /// The Mac's interface to bridge to, such as en0; without it Fusion chooses
    #[arg(long, add = candidates::interfaces(), value_name = "NAME")]
    interface: Option<String>,

    /// The address that users know
    #[arg(long, value_name = "ADDRESS")]
    vip: Option<String>,

    /// The gateways' addresses on the home network, with commas
    #[arg(long, value_name = "ADDRESSES")]
    gateways: Option<String>,

    /// The number of the internal network in Fusion, such as 2
    #[arg(long, value_name = "NUMBER")]
    vmnet: Option<String>,

    /// The internal network's subnet
    #[arg(long, value_name = "SUBNET")]
    internal: Option<String>,

    /// A public key's file that may log in; again for another one, `none` for none
    #[arg(long, add = candidates::public_keys(), value_name = "FILE")]
    ssh_key: Vec<String>,

    /// What names of published applications end in
    #[arg(long, value_name = "NAME")]
    domain: Option<String>,

    /// The lab's name
    #[arg(long, value_name = "NAME")]
    name: Option<String>,

    /// The file to write; `-` prints it [default: fusionlab.yaml]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,

    /// Ask nothing: take what is found here for what is not said
    #[arg(long, short)]
    yes: bool,
}

impl InitArgs {
    fn given(&self) -> Given {
        Given {
            preset: self.preset.map(Into::into),
            lan: self.lan.clone(),
            router: self.router.clone(),
            dns: self.dns.clone(),
            interface: self.interface.clone(),
            vip: self.vip.clone(),
            gateways: self.gateways.clone(),
            vmnet: self.vmnet.clone(),
            internal: self.internal.clone(),
            keys: (!self.ssh_key.is_empty()).then(|| self.ssh_key.join(",")),
            domain: self.domain.clone(),
            name: self.name.clone(),
        }
    }
}

/// Where the file goes.
pub struct Target {
    /// As it was said; else `fusionlab.yaml`, or a file of the lab's name where that is there already.
    out: Option<PathBuf>,
}

impl Target {
    fn file(&self, name: &str, seen: &Seen) -> PathBuf {
        match &self.out {
            Some(out) => out.clone(),
            None if seen.files.contains(LAB_FILE) => PathBuf::from(format!("{name}.yaml")),
            None => PathBuf::from(LAB_FILE),
        }
    }

    /// Says why a lab of this name has no place for its file.
    pub fn refuses(&self, name: &str, seen: &Seen) -> Option<check::Refused> {
        let file = self.file(name, seen).display().to_string();
        let is_there = self.out.is_none() && seen.files.contains(&file);
        is_there.then(|| format!("{file} exists already"))
    }
}

pub async fn run(args: InitArgs, context: &Context) -> Result<Success, Failure> {
    let given = args.given();
    if let (Some(preset), false) = (args.preset, args.yes)
        && given == (Given { preset: given.preset, ..Given::default() })
    {
        let out = args.out.unwrap_or_else(|| PathBuf::from(LAB_FILE));
        return finish(context, &out, &verbs::preset_file(preset), None);
    }
    if !args.yes && !hears(context) {
        let nobody =
            if context.can_ask() { "--quiet leaves the questions out" } else { "nobody can answer here" };
        return Err(Report::usage(format!("this asks what is not said, and {nobody}"))
            .advise("say --yes to take what is found here, or a size alone:")
            .run("fusionlab init --preset ha")
            .into());
    }
    let target = Target { out: args.out };
    if let Some(out) = target.out.as_deref().filter(|out| calls::is_there(out)) {
        return Err(exists(out));
    }
    let mut seen = calls::look(context).await?;
    let made = if args.yes {
        unasked(context, &given, &mut seen, &target).await?
    } else {
        asked(context, &given, &mut seen, &target, Shown::WithPlan).await?
    };
    finish(context, &made.file, &made.text, Some(&made))
}

/// Says whether somebody is there who sees the questions and can answer them.
fn hears(context: &Context) -> bool {
    context.can_ask() && !context.options.quiet
}

/// A file that is about to be written.
struct Made {
    file: PathBuf,
    text: String,
    /// What writes the same again, in parts that stay together.
    command: Vec<String>,
    /// What was taken as found.
    assumed: Vec<(&'static str, String)>,
}

impl Made {
    fn of(context: &Context, answers: &Answers, seen: &Seen, target: &Target) -> Self {
        let file = target.file(&answers.name, seen);
        let named = (file != Path::new(LAB_FILE)).then(|| file.display().to_string());
        // The lab file of this run is no matter of the new one.
        let options = Options { lab: None, ..context.options.clone() };
        Self {
            text: write::file(answers),
            command: write::command(answers, &options.again(), named.as_deref()),
            assumed: Vec::new(),
            file,
        }
    }
}

/// Completes what was said by what was found, and says what that is.
async fn unasked(
    context: &Context,
    given: &Given,
    seen: &mut Seen,
    target: &Target,
) -> Result<Made, Failure> {
    let lan = check::lan(given, seen);
    if let Ok(lan) = &lan
        && let Some(subnet) = lan.in_reach()
    {
        let mut addresses = defaults::candidates(lan);
        let said = [&given.vip, &given.gateways].into_iter().flatten();
        addresses.extend(said.flat_map(|text| check::addresses_in(text, subnet)));
        tokio::select! {
            () = calls::ask_around(seen, &addresses) => {}
            () = context.cancel.cancelled() => return Err(wizard::left(context)),
        }
    }
    let home = context.user_home().ok();
    let read_keys = |text: &str| calls::read_keys(text, home.as_deref());
    let completed = told::complete(given, lan, seen, &read_keys, |path| context.shown(path));
    let (answers, assumed) = completed.map_err(wrong_options)?;
    if let Some(reason) = target.refuses(&answers.name, seen) {
        return Err(Report::usage(reason)
            .advise("choose another name with --out, or move the file away")
            .into());
    }
    let made = Made { assumed, ..Made::of(context, &answers, seen, target) };
    resolved(&made)?;
    let pen = &context.terminal.err;
    if !made.assumed.is_empty() {
        context.say([pen.paint(Ink::Strong, "Taken as found here")]);
        context.say(table::labelled(made.assumed.clone(), pen));
    }
    context.say(screen::other_lan(&answers.lan, pen));
    Ok(made)
}

fn wrong_options(mut refused: Vec<String>) -> Failure {
    let what = match refused.len() {
        1 => refused.remove(0),
        count => format!("{count} options of init cannot be used"),
    };
    let mut report = Report::usage(what);
    report.also = refused;
    report.advise("nothing was written; on a terminal, without --yes, each is asked for").into()
}

/// How much is shown before the file is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shown {
    WithPlan,
    /// For `up`, which shows its plan and the warnings itself.
    WithoutPlan,
}

/// Asks, shows what comes of it, and asks whether to write it.
async fn asked(
    context: &Context,
    given: &Given,
    seen: &mut Seen,
    target: &Target,
    shown: Shown,
) -> Result<Made, Failure> {
    let pen = context.terminal.err;
    context.say(screen::found(seen, context.terminal.live, &pen));
    let answers = wizard::ask(context, given, seen, target).await?;
    let made = Made::of(context, &answers, seen, target);
    let (lab, mut found) = resolved(&made)?;
    if !seen.fusion.as_ref().is_some_and(|fusion| fusion.simulated) {
        found.extend(verbs::problems_of_size(&lab));
    }
    context.say([""]);
    let told = if context.options.plain { topology::list } else { topology::lines };
    context.say(told(&Diagram::of(&lab, None), &pen));
    context.say([""]);
    if shown == Shown::WithPlan {
        context.say(["What fusionlab up will do:", ""]);
        context.say(planned(context, lab).await?);
        context.say([""]);
    }
    if shown == Shown::WithPlan && !found.is_empty() {
        context.say(found.iter().flat_map(|problem| problems::brief(problem, &pen)));
        context.say([""]);
    }
    context.say([pen.paint(Ink::Strong, "The same without questions")]);
    context.say(screen::command(&made.command, &pen));
    context.say([""]);
    let terminal = context.terminal;
    let question = match made.file.as_os_str() == STDOUT {
        true => "Print the lab file?".to_owned(),
        false => format!("Write {}?", made.file.display()),
    };
    match context.answered(move || prompt::yes(&question, &terminal)).await?.flatten() {
        Some(true) => Ok(made),
        _ => Err(wizard::left(context)),
    }
}

/// Returns what `up` would do for the new lab; where that cannot be known yet, why not.
async fn planned(context: &Context, lab: Lab) -> Result<Vec<String>, Failure> {
    let pen = &context.terminal.err;
    match calls::plan(context, lab).await {
        Ok((lab, steps)) => Ok(plan::lines(&steps, &lab, Detail::Brief, pen)),
        Err(failure) if failure.kind() == Kind::Interrupted => Err(wizard::left(context)),
        Err(Failure::Report(report)) => Ok(screen::no_plan(&report.what, pen)),
        // Of a lab that does not fit this Mac the warnings tell.
        Err(_) => Ok(screen::no_plan("the lab does not fit this Mac", pen)),
    }
}

/// Reads the new file as `up` will.
fn resolved(made: &Made) -> Result<(Lab, Vec<crate::lab::problem::Problem>), Failure> {
    verbs::resolve(Some(&made.text), None).map_err(|problems| {
        let file = made.file.display().to_string();
        Failure::LabFile(LabFileProblems { file, text: made.text.clone(), problems })
    })
}

/// Writes or prints the file, and says what comes next.
fn finish(context: &Context, out: &Path, text: &str, made: Option<&Made>) -> Result<Success, Failure> {
    if out.as_os_str() == STDOUT {
        context.print([text.trim_end()])?;
        return Ok(Success::Done);
    }
    write_new(out, text)?;
    if context.json() {
        let mut told = json!({ "schema": SCHEMA, "file": out });
        if let Some(made) = made {
            told["command"] = json!(made.command.join(" "));
            told["assumed"] = made.assumed.iter().map(|(what, value)| (*what, value.as_str())).collect();
        }
        context.print_json(&told)?;
        return Ok(Success::Done);
    }
    let named = (out.as_os_str() != LAB_FILE).then(|| out.to_owned());
    let options = Options { lab: named, ..context.options.clone() };
    let parts = ["fusionlab".to_owned(), options.again(), "plan".to_owned()];
    let next = parts.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ");
    let line = format!("wrote {}; edit it, then: {next}", out.display());
    context.say(words::wrap(&line, context.terminal.err.width));
    Ok(Success::Done)
}

fn write_new(out: &Path, text: &str) -> Result<(), Failure> {
    verbs::write_new(out, text).map_err(|error| match error {
        HostError::File { source, .. } if source.kind() == std::io::ErrorKind::AlreadyExists => exists(out),
        other => Failure::from(other),
    })
}

fn exists(out: &Path) -> Failure {
    Report::usage(format!("{} exists already", out.display()))
        .advise("choose another name with --out, or move the file away")
        .into()
}

/// Asks the questions before `up` goes on, where somebody can answer, no lab file is there or named, and no lab stands that
/// would be meant without one.
pub async fn before_up(context: &Context, args: &UpArgs) -> Result<(), Failure> {
    let is_told = args.is_told() || context.options.lab.is_some() || calls::is_there(Path::new(LAB_FILE));
    if is_told || !hears(context) || verbs::built_in_stands(context) {
        return Ok(());
    }
    let mut seen = calls::look(context).await?;
    if seen.fusion.is_none() {
        // Better said now, by the verb itself, than after eight answers.
        return Ok(());
    }
    context.say([format!("There is no {LAB_FILE} here; a few questions make one."), String::new()]);
    let target = Target { out: Some(PathBuf::from(LAB_FILE)) };
    let made = asked(context, &Given::default(), &mut seen, &target, Shown::WithoutPlan).await?;
    write_new(&made.file, &made.text)?;
    context.say([format!("wrote {}", made.file.display()), String::new()]);
    Ok(())
}
