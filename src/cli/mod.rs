//! Words: what the user types, what the user reads.
//!
//! ```text
//! mod.rs       the program's types for clap, and main: parse, run the verb, print the error, exit
//! options.rs   what every verb takes      context.rs   what every verb works with
//! up.rs …      one file per verb: its help and one function
//! calls.rs     what verbs call in the layers below
//! error/       kinds, exit codes, advice, explanations
//! report/      while something happens: bars, lines, JSON
//! screen/      what stands still: tables, blocks, the error screen
//! ```

mod calls;
mod candidates;
mod completions;
mod console;
mod context;
mod cp;
mod destroy;
mod doctor;
#[cfg(test)]
mod documented;
mod drill;
mod duration;
pub mod error;
mod exec;
mod explain;
mod guests;
mod help;
mod image;
mod init;
mod kubeconfig;
mod list;
mod logs;
mod names;
mod network;
mod options;
mod peers;
mod plan;
mod render;
pub mod report;
mod schema;
pub mod screen;
mod signals;
mod sim;
#[cfg(feature = "sim")]
mod sim_guests;
#[cfg(feature = "sim")]
mod sim_image;
#[cfg_attr(not(feature = "sim"), path = "unsimulated.rs")]
mod simulated;
mod ssh;
mod status;
mod support;
mod template;
pub mod terminal;
mod topology;
mod trust;
mod up;
mod usage;
mod verify;
mod wait;
mod watch;
mod words;

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{Command, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};

use context::Context;
use error::{Failure, Kind, Report, Success};
use options::{Options, OutputForm};
use terminal::Pen;

/// From one file to a Kubernetes lab on VMware Fusion, and back again
///
/// Brings up a highly available Kubernetes cluster with its own network and a pair of gateways, proves that it works,
/// and takes it down again without a trace. Where there is no VMware Fusion, a simulated one takes its place and says so.
#[derive(Parser, Debug)]
#[command(
    name = "fusionlab",
    version,
    propagate_version = false,
    infer_subcommands = false,
    arg_required_else_help = true,
    subcommand_help_heading = "Verbs",
    subcommand_value_name = "VERB",
    disable_help_subcommand = true
)]
#[command(after_help = "Examples:
  fusionlab init           write a lab file, with a question for each choice
  fusionlab doctor         is this Mac fit for it?
  fusionlab up             bring it up; without Fusion, a simulated one
  fusionlab verify         prove it, hop by hop
  fusionlab destroy        take it down

Exit codes: 0 done, 2 usage, 3 lab file, 4 this Mac, 5 locked,
6 Fusion, 7 network, 8 machine, 9 Kubernetes, 10 verification, 11 partly
done, 12 plan has changes, 130 interrupted, 1 anything else.")]
pub(crate) struct Cli {
    #[command(flatten)]
    options: Options,

    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand, Debug)]
enum Verb {
    // As help::GROUPS has them.
    Init(init::InitArgs),
    Doctor(doctor::DoctorArgs),
    Plan(plan::PlanArgs),
    Up(up::UpArgs),
    Destroy(destroy::DestroyArgs),
    Status(status::StatusArgs),
    #[command(visible_alias = "ls")]
    List(list::ListArgs),
    Topology(topology::TopologyArgs),
    Verify(verify::VerifyArgs),
    Drill(drill::DrillArgs),
    Ssh(ssh::SshArgs),
    Exec(exec::ExecArgs),
    Cp(cp::CpArgs),
    Logs(logs::LogsArgs),
    Console(console::ConsoleArgs),
    Kubeconfig(kubeconfig::KubeconfigArgs),
    Names(names::NamesArgs),
    Trust(trust::TrustArgs),
    Explain(explain::ExplainArgs),
    Support(support::SupportArgs),
    Help(help::HelpArgs),
    Completions(completions::CompletionsArgs),
    Man(completions::ManArgs),
    Template(template::TemplateArgs),
    Image(image::ImageArgs),
    Network(network::NetworkArgs),
    Render(render::RenderArgs),
    Schema(schema::SchemaArgs),
    Sim(sim::SimArgs),
}

impl Verb {
    /// Returns the size of the lab that an option named.
    fn size(&self) -> Option<String> {
        let preset = match self {
            Self::Up(args) => args.preset(),
            Self::Plan(args) => args.preset(),
            _ => None,
        };
        preset.and_then(|preset| Some(preset.to_possible_value()?.get_name().to_owned()))
    }
}

/// Runs the program.
pub fn main() -> ExitCode {
    candidates::answer();
    let args: Vec<OsString> = std::env::args_os().collect();
    let wished = usage::Wished::of(&args, std::env::var_os("FUSIONLAB_PLAIN").as_deref());
    let command = || {
        let width = wished.terminal().out.prose_width();
        help::grouped(examples_first(Cli::command()), width).color(wished.help_colors())
    };
    let cli = match command().try_get_matches_from(&args).and_then(|matches| parsed(&matches)) {
        Ok(cli) => cli,
        Err(error) => return usage::answer(&error, &args, &wished, command()),
    };
    if let Verb::Help(args) = &cli.verb {
        return help::answer(args, &wished, command());
    }
    let (json, again, size) = (cli.options.json(), cli.options.again(), cli.verb.size());
    let pen = terminal::Terminal::detect(cli.options.color, cli.options.plain).err;
    match run(cli) {
        Ok(success) => ExitCode::from(success.exit_code()),
        Err(failure) => {
            let failure = failure.with_size(size.as_deref()).with_options(&again);
            tell(&failure, json, &pen);
            ExitCode::from(failure.kind().exit_code())
        }
    }
}

/// Lets each verb's examples stand right behind how it is called, before all its options: most who ask for help look for one
/// (facts/peers.md §4.3).
fn examples_first(command: Command) -> Command {
    let template = "{before-help}{about-with-newline}\n{usage-heading} {usage}{after-help}\n\n{all-args}";
    command.mut_subcommands(|verb| examples_first(verb).help_template(template))
}

/// Reads the types off what clap matched. A FUSIONLAB_FUSION in the environment yields to `--sim`; the two flags
/// together contradict each other.
fn parsed(matches: &clap::ArgMatches) -> Result<Cli, clap::Error> {
    let mut cli = Cli::from_arg_matches(matches)?;
    if cli.options.sim && cli.options.fusion.take().is_some() {
        let typed =
            |matches: &clap::ArgMatches| matches.value_source("fusion") == Some(ValueSource::CommandLine);
        if typed(matches) || matches.subcommand().is_some_and(|(_, matches)| typed(matches)) {
            let words = "--sim and --fusion name two different Fusions: leave one of them out";
            return Err(Cli::command().error(ErrorKind::ArgumentConflict, words));
        }
    }
    Ok(cli)
}

fn run(cli: Cli) -> Result<Success, Failure> {
    let context = Context::new(cli.options)?;
    // Every TLS connection of the program uses this provider. A second call would find the same one installed.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(|error| {
        Report::new("unexpected", Kind::Unexpected, format!("start the runtime: {error}"))
    })?;
    let result = runtime.block_on(async {
        let leave = signals::obeyed(context.cancel.clone());
        tokio::select! {
            biased;
            // What the verb began is dropped here, so that no program of its is left behind.
            () = leave.cancelled() => Err(Failure::Told(Kind::Interrupted)),
            result = dispatch(cli.verb, &context) => result,
        }
    });
    // A question that nobody answered still waits for a key; nothing else is left that would need waiting for.
    runtime.shutdown_background();
    result
}

async fn dispatch(verb: Verb, context: &Context) -> Result<Success, Failure> {
    if context.options.output == OutputForm::Junit && !matches!(verb, Verb::Verify(_)) {
        return Err(Report::usage("only verify has a JUnit form")
            .advise("leave --output junit out, or say --output json: every verb that prints results has that form")
            .advise("the checks as JUnit are printed by:")
            .run("fusionlab verify --output junit")
            .into());
    }
    match verb {
        Verb::Up(args) => up::run(args, context).await,
        Verb::Plan(args) => plan::run(args, context).await,
        Verb::Status(args) => status::run(args, context).await,
        Verb::List(args) => list::run(args, context).await,
        Verb::Topology(args) => topology::run(args, context).await,
        Verb::Ssh(args) => ssh::run(args, context).await,
        Verb::Exec(args) => exec::run(args, context).await,
        Verb::Console(args) => console::run(args, context).await,
        Verb::Cp(args) => cp::run(args, context).await,
        Verb::Logs(args) => logs::run(args, context).await,
        Verb::Support(args) => support::run(args, context).await,
        Verb::Verify(args) => verify::run(args, context).await,
        Verb::Drill(args) => drill::run(args, context).await,
        Verb::Doctor(args) => doctor::run(args, context).await,
        Verb::Destroy(args) => destroy::run(args, context).await,
        Verb::Render(args) => render::run(args, context).await,
        Verb::Init(args) => init::run(args, context).await,
        Verb::Schema(args) => schema::run(args, context),
        Verb::Explain(args) => explain::run(args, context),
        Verb::Kubeconfig(args) => kubeconfig::run(args, context).await,
        Verb::Names(args) => names::run(args, context).await,
        Verb::Trust(args) => trust::run(args, context).await,
        Verb::Template(args) => template::run(args, context).await,
        Verb::Image(args) => image::run(args, context).await,
        Verb::Network(args) => network::run(args, context).await,
        Verb::Sim(args) => sim::run(args, context).await,
        Verb::Completions(args) => completions::run(args, context),
        Verb::Man(args) => completions::man(args, context),
        Verb::Help(_) => unreachable!("help is answered before there is a context"),
    }
}

/// Says why a verb did not succeed: to people, or to programs.
fn tell(failure: &Failure, json: bool, pen: &Pen) {
    if json {
        print_json(failure);
    } else {
        print_lines(&screen::error::lines(failure, pen));
    }
}

/// Writes words to standard error.
fn print_lines(lines: &[String]) {
    use std::io::Write;
    let mut err = std::io::stderr().lock();
    for line in lines {
        // A terminal that was closed takes no words any more; the exit code remains.
        let _ = writeln!(err, "{line}");
    }
}

fn print_json(failure: &Failure) {
    use std::io::Write;
    if matches!(failure, Failure::Told(_) | Failure::OutputClosed) {
        return;
    }
    // Whoever reads this may have gone away; the exit code remains.
    let _ = writeln!(std::io::stdout(), "{}", screen::error::json(failure));
}

/// Quotes a path for a command that the user may paste.
fn quoted(path: &Path) -> String {
    crate::formats::command::quote(&path.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        parsed(&Cli::command().try_get_matches_from(line.split(' '))?)
    }

    #[test]
    fn the_types_make_a_sound_command_line() {
        Cli::command().debug_assert();
    }

    #[test]
    fn global_options_stand_before_or_after_the_verb() {
        for line in ["fusionlab --sim up --yes", "fusionlab up --yes --sim"] {
            assert!(parse(line).unwrap().options.sim, "{line}");
        }
        for line in ["fusionlab up --sim --fusion /x", "fusionlab --sim --fusion /x up"] {
            assert!(parse(line).is_err(), "two Fusions are one too many: {line}");
        }
        assert!(parse("fusionlab up --sim-speed 0").is_err());
    }

    #[test]
    fn wrong_usage_is_exit_code_2() {
        assert_eq!(parse("fusionlab fly").unwrap_err().exit_code(), 2);
        assert_eq!(parse("fusionlab up --help").unwrap_err().exit_code(), 0);
    }

    /// Every verb that is shown, each behind the verbs that it is below.
    fn shown(command: &clap::Command, before: &str, all: &mut Vec<(String, String)>) {
        for verb in command.get_subcommands().filter(|verb| !verb.is_hide_set()) {
            let name = format!("{before}{}", verb.get_name());
            let examples = verb.get_after_help().map(ToString::to_string).unwrap_or_default();
            all.push((name.clone(), examples));
            shown(verb, &format!("{name} "), all);
        }
    }

    #[test]
    fn every_verb_has_examples_and_they_fit_into_80_columns() {
        let mut all = vec![(String::new(), Cli::command().get_after_help().unwrap().to_string())];
        shown(&Cli::command(), "", &mut all);
        for (verb, examples) in &all {
            assert!(examples.contains("Examples:\n  "), "{verb}: {examples}");
            for line in examples.lines() {
                assert!(line.chars().count() <= 80, "{verb}: {line}");
            }
            // Each example that begins with the program's name can be typed as it stands.
            for line in examples.lines().filter_map(|line| line.strip_prefix("  fusionlab ")) {
                let command = line.split("  ").next().unwrap().split(['>', '|']).next().unwrap().trim();
                let command = command.replace("'df -h", "df");
                let words = std::iter::once("fusionlab").chain(command.split(' '));
                let parsed = Cli::command().try_get_matches_from(words);
                assert!(parsed.is_ok(), "{verb}: {line}: {}", parsed.unwrap_err());
            }
        }
    }

    #[test]
    fn every_verb_says_in_one_line_what_it_does() {
        for verb in Cli::command().get_subcommands() {
            let about = verb.get_about().map(ToString::to_string).unwrap_or_default();
            assert!(
                !about.is_empty() && about.len() <= 70 && !about.ends_with('.'),
                "{}: {about}",
                verb.get_name()
            );
        }
    }
}
