//! `fusionlab exec`: one command in one guest or in many.
//!
//! ```text
//! one machine       output as it is, exit status the command's
//! several           each line behind its machine's name; the worst status; who failed is said in the end
//! --output json     one object a machine, as each ends
//! ```

use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use clap::Args;
use tokio_util::sync::CancellationToken;

use super::calls::{EndSink, Ended, Session};
use super::context::{Context, Warnings};
use super::duration;
use super::error::{Failure, Report, Success};
use super::guests::GuestsArgs;
use super::screen::exec::{self as screen, Lines};
use crate::formats::command::Command;
use crate::host::{ByteSink, Flow, Pipe, input};
use crate::lab::Node;
use crate::lab::limits::NO_LIMIT;

/// Run a command in one machine or in many
///
/// The words after -- are the command and its arguments, as the lab's user, who may use sudo. No shell reads them: for
/// pipes and wildcards, run one. In one machine the output and the exit status are the command's own, and what comes on
/// standard input goes to it. In several, eight at a time, each line stands behind its machine's name, and the exit
/// status is the worst of all; 128 and more is a command that a signal ended, as in a shell.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  fusionlab exec gateway1 -- sudo nginx -T
  fusionlab exec --all -- uptime
  fusionlab exec --role gateway --role worker -- systemctl is-active ssh
  fusionlab exec k8s-master1 -- sh -c 'df -h | tail -3'
  tar c site | fusionlab exec gateway1 -- tar x -C /tmp")]
pub struct ExecArgs {
    #[command(flatten)]
    guests: GuestsArgs,

    /// The command and its arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<String>,

    /// Give up after this long: 30s, 10m, 2h [default: when it ends]
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    limit: Option<Duration>,
}

pub async fn run(args: ExecArgs, context: &Context) -> Result<Success, Failure> {
    let lab = context.lab(None, Warnings::Untold)?;
    let nodes = args.guests.chosen(&lab)?;
    let session = Session::open(context, lab, "exec").await?;
    let printer = Arc::new(Printer::new(context));
    let form = match nodes.as_slice() {
        _ if context.json() => Form::Json,
        [_] => Form::Raw,
        several => Form::Behind(several.iter().map(|node| node.name.len()).max().unwrap_or_default()),
    };
    let is_one = nodes.len() == 1;
    let flow = |node: &Node| Flow {
        input: (is_one && !input::is_terminal()).then(input::feed),
        output: form.sink(node, &printer, context),
    };
    let ended = form.ends(&session, &printer);
    let limit = args.limit.unwrap_or(NO_LIMIT);
    let ends = session.attend(&nodes, &Command::new(args.command), limit, flow, ended).await?;
    if printer.closed.load(Ordering::SeqCst) {
        return Err(Failure::OutputClosed);
    }
    if context.cancel.is_cancelled() {
        return Err(Report::interrupted_in_guests().into());
    }
    conclude(ends, form, context)
}

/// Says who failed, and returns the worst of all ends.
fn conclude(mut ends: Vec<Ended>, form: Form, context: &Context) -> Result<Success, Failure> {
    let worst = ends.iter().map(screen::status).max().unwrap_or_default();
    match (form, ends.len()) {
        (Form::Json, _) => {}
        (_, 1) => {
            let end = ends.remove(0);
            let output = end.outcome?;
            if let Some(words) = screen::signal(&output) {
                context.complain([format!("{}: {words}", end.node)]);
            }
        }
        _ => {
            let lines = screen::summary(&ends, &context.options.again(), &context.terminal.err);
            context.complain(lines);
        }
    }
    Ok(if worst == 0 { Success::Done } else { Success::Guest(worst) })
}

/// How the output of machines is shown.
#[derive(Clone, Copy)]
enum Form {
    Raw,
    /// Behind names of so many columns.
    Behind(usize),
    Json,
}

impl Form {
    fn sink(self, node: &Node, printer: &Arc<Printer>, context: &Context) -> ByteSink {
        let printer = printer.clone();
        match self {
            Self::Raw => Box::new(move |pipe, bytes| printer.print(pipe, bytes)),
            Self::Json => Box::new(|_, _| {}),
            Self::Behind(width) => {
                let (out, err) = (&context.terminal.out, &context.terminal.err);
                let out = Mutex::new(Lines::new(screen::prefix(&node.name, width, Pipe::Stdout, out)));
                let err = Mutex::new(Lines::new(screen::prefix(&node.name, width, Pipe::Stderr, err)));
                Box::new(move |pipe, bytes| {
                    let lines = if pipe == Pipe::Stdout { &out } else { &err };
                    let mut lines = lines.lock().unwrap_or_else(PoisonError::into_inner);
                    // The end of a stream is no bytes at all.
                    let whole = if bytes.is_empty() { lines.rest() } else { lines.take(bytes) };
                    printer.print(pipe, whole.as_bytes());
                })
            }
        }
    }

    fn ends(self, session: &Session, printer: &Arc<Printer>) -> EndSink {
        if !matches!(self, Self::Json) {
            return Arc::new(|_| {});
        }
        let (lab, simulated) = (session.lab.name.clone(), session.fusion.simulated);
        let printer = printer.clone();
        Arc::new(move |end| {
            let line = format!("{}\n", screen::json(&lab, simulated, end));
            printer.print(Pipe::Stdout, line.as_bytes());
        })
    }
}

/// Writes what guests print to our own streams, piece by piece; once somebody has closed one, it says stop.
struct Printer {
    cancel: CancellationToken,
    closed: AtomicBool,
}

impl Printer {
    fn new(context: &Context) -> Self {
        Self { cancel: context.cancel.clone(), closed: AtomicBool::new(false) }
    }

    fn print(&self, pipe: Pipe, bytes: &[u8]) {
        let written = match pipe {
            Pipe::Stdout => write(&mut io::stdout().lock(), bytes),
            Pipe::Stderr => write(&mut io::stderr().lock(), bytes),
        };
        if written.is_err() && pipe == Pipe::Stdout {
            self.closed.store(true, Ordering::SeqCst);
            self.cancel.cancel();
        }
    }
}

fn write(stream: &mut impl Write, bytes: &[u8]) -> io::Result<()> {
    stream.write_all(bytes)?;
    stream.flush()
}
