//! `fusionlab logs`: what machines write down, from all places together.

use std::time::Duration;

use clap::{Args, ValueEnum};

use super::calls::{LogSink, Session, all_is_read};
use super::context::{Context, Warnings};
use super::duration;
use super::error::{Failure, Success};
use super::guests::GuestsArgs;
use super::screen::logs::{self as screen, Columns};
use crate::engine::guests::logs::Extent;
use crate::host::clock;
use crate::stack::logs::Source;

/// Entries of each machine that are shown where nothing else is said.
const LINES: usize = 50;

/// Show what machines write down: console, cloud-init, journal
///
/// The lines of all sources stand in the order of their times, with the source beside each. The console is a file on this
/// machine and can be read while its guest is off. Secrets of the lab are taken out, and so is what a terminal would obey.
/// With --follow it goes on until Ctrl-C, which is its end and no failure: exit code 0.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  fusionlab logs k8s-master1
  fusionlab logs gateway1 gateway2 --source journal --since 10m
  fusionlab logs k8s-worker1 --source console -n 200
  fusionlab logs --all -f")]
pub struct LogsArgs {
    #[command(flatten)]
    guests: GuestsArgs,

    /// Only this source; may be repeated
    #[arg(long, value_enum, value_name = "SOURCE")]
    source: Vec<SourceName>,

    /// So many lines of each machine, the last ones
    #[arg(long, short = 'n', value_name = "LINES", default_value_t = LINES)]
    lines: usize,

    /// Only what is no older: 30s, 10m, 2h
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    since: Option<Duration>,

    /// Go on with what comes, until Ctrl-C
    #[arg(long, short)]
    follow: bool,
}

/// Where a machine writes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum SourceName {
    Console,
    CloudInit,
    Journal,
}

impl From<SourceName> for Source {
    fn from(name: SourceName) -> Self {
        match name {
            SourceName::Console => Self::Console,
            SourceName::CloudInit => Self::CloudInit,
            SourceName::Journal => Self::Journal,
        }
    }
}

pub async fn run(args: LogsArgs, context: &Context) -> Result<Success, Failure> {
    let lab = context.lab(None, Warnings::Untold)?;
    let nodes = args.guests.chosen(&lab)?;
    let session = Session::open(context, lab, "logs").await?;
    let mut sources: Vec<Source> = args.source.iter().map(|name| (*name).into()).collect();
    if sources.is_empty() {
        sources = Source::ALL.to_vec();
    }
    let extent = Extent {
        lines: args.lines,
        since: args.since.map(|since| clock::now().saturating_sub(since.as_secs())),
    };
    let columns = Columns::of(&nodes, &sources);
    let (name, simulated) = (session.lab.name.clone(), session.fusion.simulated);
    let sink: LogSink<'_> = &|read| {
        if context.json() {
            context.print(
                read.iter().map(|(node, entry)| screen::json(&name, simulated, node, entry).to_string()),
            )
        } else {
            let pen = &context.terminal.out;
            context.print(read.iter().flat_map(|(node, entry)| columns.lines(node, entry, pen)))
        }
    };
    let (following, unread) = session.logs(&nodes, &sources, extent)?.begin(sink).await?;
    if !args.follow {
        return all_is_read(unread).map(|()| Success::Done);
    }
    let mut tell =
        |node: &str, failure: &Failure| context.say(screen::waits(node, failure, &context.terminal.err));
    following.follow(sink, &mut tell).await?;
    Ok(Success::Done)
}
