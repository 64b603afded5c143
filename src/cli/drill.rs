//! `fusionlab drill`: loses one thing after the other, measures who feels it, and puts everything back.

use clap::Args;
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use serde_json::{Value, json};

use super::calls::Session;
use super::candidates;
use super::context::{About, Context, Warnings};
use super::error::{Failure, Kind, Report, Success};
use super::guests;
use super::screen::{drill, opening};
use super::wait::WaitArgs;
use super::words;
use crate::formats::figures;
use crate::lab::Lab;
use crate::plan::drill::{Choice, Drill};
use crate::stack::drill::{Outcome, Scenario};

/// The JSON forms' schemas; the number rises when a field changes its meaning or goes away.
const SCHEMA: &str = "fusionlab.drill/1";
const LIST_SCHEMA: &str = "fusionlab.drills/1";

/// Lose a gateway, a worker, a control plane, and measure who feels it
///
/// Breaks one thing at a time while every way into the lab is asked ten times a second, each time by a connection of its
/// own, and puts it back: also after Ctrl-C, and by the next drill or up if it was killed. Begins only if the lab is
/// whole. Exits with 10 if an outage was over its limit, or if something could not be put back.
#[derive(Args, Debug)]
// A word behind --wait is a scenario.
#[command(mut_arg("wait", |wait| wait.require_equals(true)))]
#[command(after_help = "Examples:
  fusionlab drill                              all that the lab can do without
  fusionlab drill gateway-vm worker-vm         only these
  fusionlab drill worker-vm --on k8s-worker2   this machine, not the first
  fusionlab drill --list                       what there is")]
pub struct DrillArgs {
    /// What is lost [default: all that the lab can do without]
    #[arg(value_name = "SCENARIO", value_parser = scenario(), hide_possible_values = true)]
    scenarios: Vec<Scenario>,

    /// The machine that loses it [default: the gateway that holds the VIPs; the first worker or control plane]
    #[arg(long, add = candidates::machines(), value_name = "MACHINE")]
    on: Option<String>,

    /// List the scenarios; nothing is lost
    #[arg(long)]
    list: bool,

    /// Do not ask
    #[arg(long, short)]
    yes: bool,

    #[command(flatten)]
    wait: WaitArgs,
}

fn scenario() -> impl TypedValueParser<Value = Scenario> {
    let values = Scenario::ALL.map(|scenario| PossibleValue::new(scenario.name()).help(scenario.loses()));
    PossibleValuesParser::new(values)
        .map(|name| Scenario::of_name(&name).expect("clap lets only the names pass that it was given"))
}

pub async fn run(args: DrillArgs, context: &Context) -> Result<Success, Failure> {
    let pen = &context.terminal.err;
    let lab = context.lab(None, Warnings::Untold)?;
    if args.list {
        return list(&lab, context);
    }
    if let Some(name) = &args.on {
        guests::one(&lab, name)?;
    }
    let session = Session::open_to_change(context, lab, "drill", args.wait).await?;
    let (lab, simulated) = (session.lab.clone(), session.fusion.simulated);
    let opening = [opening::lines(&lab, &session.fusion, pen), vec![String::new()]].concat();
    context.say(&opening);
    let choice = Choice { scenarios: args.scenarios, on: args.on };
    let drill = session.drill_outlook(&choice).await?;
    if !choice.scenarios.is_empty() || choice.on.is_some() {
        must_be_possible(&drill)?;
    }
    // With --on, what concerns other machines was not asked for.
    let spared = if choice.on.is_some() && choice.scenarios.is_empty() { &[][..] } else { &drill.spared };
    let plan = drill::plan(&drill.plan, drill.holder.as_deref(), spared, pen);
    context.say(&plan);
    if !drill.plan.is_empty() && !args.yes {
        let said = [opening, plan].concat();
        context.go_on(About { said: &said, unsaid: Vec::new() }, "Do this?").await?;
    }
    let (summary, failure) = session.carry_out(context, &drill.plan).await;
    let outcomes = &summary.drilled;
    if context.json() {
        let spared: Vec<Value> =
            spared.iter().map(|(scenario, why)| json!({ "scenario": scenario, "why": why })).collect();
        context.print_json(&json!({
            "schema": SCHEMA,
            "lab": lab.name,
            "simulated": simulated,
            "passed": failure.is_none() && outcomes.iter().all(Outcome::passed),
            "took": figures::seconds(summary.took),
            "scenarios": outcomes.iter().map(of_outcome).collect::<Vec<_>>(),
            "skipped": spared,
        }))?;
    } else if !outcomes.is_empty() {
        context.print(drill::report(outcomes, &context.terminal.out))?;
    }
    match failure {
        Some(failure) => Err(failure),
        None => judge(outcomes, &lab),
    }
}

fn of_outcome(outcome: &Outcome) -> Value {
    let mut value = json!(outcome);
    value["passed"] = outcome.passed().into();
    value
}

/// An outage over its limit is a promise that the lab does not keep.
fn judge(outcomes: &[Outcome], lab: &Lab) -> Result<Success, Failure> {
    let over: Vec<&Outcome> = outcomes.iter().filter(|outcome| !outcome.passed()).collect();
    let Some(first) = over.first() else { return Ok(Success::Done) };
    let limit = first.scenario.limit(&lab.limits).name();
    let worst = first.ways.iter().max_by_key(|way| way.outage).expect("a drill asks every way");
    let what = format!(
        "{} of {} had an outage over its limit",
        over.len(),
        words::count(outcomes.len(), "scenario")
    );
    let why = format!(
        "{} was not answered for {} while {} was lost, and {} are allowed",
        worst.way,
        words::duration(worst.outage),
        first.scenario,
        words::duration(first.limit),
    );
    Err(Report::new("drill-outage", Kind::Verification, what)
        .at(first.node.clone())
        .because(why)
        .advise("everything is put back; prove each part of the way:")
        .run("fusionlab verify")
        .advise(format!(
            "a machine that is only slow may have another `limits: {{{limit}: …}}` in the lab file"
        ))
        .into())
}

/// What was asked for by name and cannot be is an error, not an omission.
fn must_be_possible(drill: &Drill) -> Result<(), Failure> {
    if drill.plan.steps.iter().any(|step| step.node.is_none()) {
        return Ok(());
    }
    let reasons: Vec<String> =
        drill.spared.iter().map(|(scenario, why)| format!("{scenario}: {why}")).collect();
    Err(Report::new("drill-impossible", Kind::Verification, "this lab cannot do without what was to be lost")
        .because(reasons.join("; "))
        .advise("nothing was broken; see what it can do without:")
        .run("fusionlab drill --list")
        .into())
}

fn list(lab: &Lab, context: &Context) -> Result<Success, Failure> {
    if context.json() {
        let one = |scenario: Scenario| {
            let limit = scenario.limit(&lab.limits);
            json!({
                "scenario": scenario,
                "loses": scenario.loses(),
                "limit": limit.duration().as_secs(),
                "limit_name": limit.name().as_str(),
                "spared": scenario.spared(lab),
            })
        };
        let scenarios = Scenario::ALL.map(one);
        context.print_json(&json!({ "schema": LIST_SCHEMA, "lab": lab.name, "scenarios": scenarios }))?;
    } else {
        context.print(drill::list(lab, &context.terminal.out))?;
    }
    Ok(Success::Done)
}
