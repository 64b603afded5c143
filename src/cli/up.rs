//! `fusionlab up`: the lab, from nothing or from whatever stands.

use clap::{Args, ValueEnum};

use super::calls::{self, Outlook, Session};
use super::context::{About, Context, Warnings};
use super::error::{Failure, Success};
use super::init::{self, PresetName};
use super::screen::{closing, opening, plan, timings};
use super::wait::WaitArgs;
use crate::plan::text::Detail;

/// Bring the lab up
///
/// Looks at what stands, shows the plan, asks, and does what is missing, as much at once as possible. Safe to run
/// again at any time: what is as it should be is left alone, what was half done is done again.
///
/// Where there is no lab file and no lab yet, in a terminal, it first asks what `init` asks; with --yes or --preset it asks
/// nothing and takes the built-in lab.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  fusionlab up                    ./fusionlab.yaml's lab; asks if there is none
  fusionlab up --yes --timings    without a question; then where the time went
  fusionlab up --sim              on the simulated Fusion, anywhere")]
pub struct UpArgs {
    /// Do not ask
    #[arg(long, short)]
    yes: bool,

    #[command(flatten)]
    wait: WaitArgs,

    /// The lab's size; it comes before the lab file's, and the lab remembers it
    #[arg(long, value_enum, value_name = "PRESET")]
    preset: Option<PresetName>,

    /// Print where the time went, step by step
    #[arg(long)]
    timings: bool,
}

impl UpArgs {
    /// Says whether the command itself says which lab is meant, or that nobody wants to be asked.
    pub fn is_told(&self) -> bool {
        self.yes || self.preset.is_some()
    }

    /// The size that was named.
    pub fn preset(&self) -> Option<PresetName> {
        self.preset
    }

    /// Returns the command that makes a lab file of the same size for the network that is here, with as many questions.
    fn init(&self) -> String {
        let preset = self.preset.and_then(|preset| preset.to_possible_value());
        // A size alone is answered with the networking document's addresses, not with what is here.
        let preset = preset.filter(|_| self.yes).map(|preset| format!(" --preset {}", preset.get_name()));
        format!("fusionlab init{}{}", if self.yes { " --yes" } else { "" }, preset.unwrap_or_default())
    }
}

pub async fn run(args: UpArgs, context: &Context) -> Result<Success, Failure> {
    init::before_up(context, &args).await?;
    let pen = &context.terminal.err;
    let (lab, warnings) = context.lab_and_warnings(args.preset, Warnings::Later)?;
    let session = Session::open_to_change(context, lab, "up", args.wait).await?;
    let (lab, fusion) = (session.lab.clone(), session.fusion.clone());
    let opening = [opening::lines(&lab, &fusion, pen), vec![String::new()]].concat();
    context.say(&opening);
    let Outlook { plan: steps, facts } = session.outlook(false).await?;
    calls::must_be_home(context, &lab, &fusion, &facts, &args.init())?;
    context.warn(&warnings, steps.is_empty());
    context.warn_of_host(&calls::warnings_of_host(context, &lab, &facts)?)?;
    if !steps.is_empty() && !args.yes {
        let unsaid = plan::lines(&steps, &lab, Detail::Brief, pen);
        context.go_on(About { said: &opening, unsaid }, "Do this?").await?;
    }
    session.become_root(context, &steps, !args.yes).await?;
    session.remember(context, args.preset)?;
    let (summary, failure) = session.carry_out(context, &steps).await;
    if args.timings {
        context.say(timings::lines(&summary, pen));
        context.say([""]);
    }
    if let Some(failure) = failure {
        return Err(failure);
    }
    let kubeconfig = context.home.lab(&lab.name).kubeconfig();
    let checks = summary.checks.iter().filter(|check| check.outcome.passed()).count();
    let ready = closing::Ready {
        took: summary.took,
        changed: summary.done().1,
        kubeconfig: context.shown(&kubeconfig),
        simulated: fusion.simulated,
        guests: fusion.guests.clone(),
        checks: (checks > 0).then_some(checks),
        flags: context.options.again(),
    };
    if context.json() {
        context.print_json(&closing::json(&lab, &ready, &kubeconfig))?;
    } else {
        context.say(closing::ready(&lab, &ready, pen));
    }
    Ok(Success::Done)
}
