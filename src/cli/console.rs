//! `fusionlab console`: a machine's serial console, as it is written.

use clap::Args;
use serde_json::json;

use super::calls::{LogSink, Session, all_is_read};
use super::candidates;
use super::context::{Context, Warnings};
use super::error::{Failure, Report, Success};
use super::guests;
use super::terminal::Ink;
use crate::engine::guests::logs::Extent;
use crate::formats::command::Command;
use crate::stack::logs::Source;

/// The JSON form's schema; the number rises when a field changes its meaning or goes away.
const SCHEMA: &str = "fusionlab.console/1";
/// Lines that are shown of what was written before, where nothing else is said.
const LINES: usize = 50;

/// Show a machine's serial console while it is written
///
/// Firmware, kernel and cloud-init write there before anybody can log in. It is a file beside the VM, so it is read and not
/// typed into; for that a machine has its window in Fusion, and the command that opens it is said first. Ctrl-C ends it,
/// with exit code 0. As JSON, what was written before is all.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  fusionlab console k8s-master1
  fusionlab console gateway1 -n 1000 --output json")]
pub struct ConsoleArgs {
    /// The machine, such as gateway1
    #[arg(add = candidates::machines(), value_name = "MACHINE")]
    node: String,

    /// So many lines of what was written before
    #[arg(long, short = 'n', value_name = "LINES", default_value_t = LINES)]
    lines: usize,
}

pub async fn run(args: ConsoleArgs, context: &Context) -> Result<Success, Failure> {
    let lab = context.lab(None, Warnings::Untold)?;
    let node = guests::one(&lab, &args.node)?.clone();
    let session = Session::open(context, lab, "console").await?;
    let reading = session.logs(
        std::slice::from_ref(&node),
        &[Source::Console],
        Extent { lines: args.lines, since: None },
    )?;
    let Some(file) = session.console_file(&node) else { return Err(Report::off(&node.name).into()) };
    let window = session.window(&node).map(|words| Command::new(words).shell_line());
    if context.json() {
        let lines = std::sync::Mutex::new(Vec::new());
        let sink: LogSink<'_> = &|read| {
            let texts = read.iter().map(|(_, entry)| entry.text.clone());
            lines.lock().expect("no holder of this lock panics").extend(texts);
            Ok(())
        };
        let (_, unread) = reading.begin(sink).await?;
        all_is_read(unread)?;
        context.print_json(&json!({
            "schema": SCHEMA,
            "lab": session.lab.name,
            "simulated": session.fusion.simulated,
            "node": node.name,
            "file": file,
            "window": window,
            "lines": lines.into_inner().expect("no holder of this lock panics"),
        }))?;
        return Ok(Success::Done);
    }
    let pen = &context.terminal.err;
    let way = match &window {
        Some(command) => pen.paint(Ink::Accent, command),
        None => "none: it is simulated".to_owned(),
    };
    // Neither is broken into lines, so that it can be copied.
    context.say([
        format!("{}  {}", pen.paint(Ink::Dim, "file  "), context.shown(&file)),
        format!("{}  {way}", pen.paint(Ink::Dim, "window")),
        format!("{}  Ctrl-C", pen.paint(Ink::Dim, "end   ")),
        String::new(),
    ]);
    let sink: LogSink<'_> = &|read| context.print(read.iter().map(|(_, entry)| &entry.text));
    let (following, unread) = reading.begin(sink).await?;
    all_is_read(unread)?;
    following.follow(sink, &mut |_, _| {}).await?;
    Ok(Success::Done)
}
