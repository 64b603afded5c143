//! `fusionlab network sudoers`: the line that spares the password for one command.

use std::io::Read;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use crate::cli::calls;
use crate::cli::context::Context;
use crate::cli::error::{Failure, Kind, Report, Success};
use crate::cli::words;
use crate::formats::command::quote;
use crate::host::fusion::networks::sudoers::{self, Check};
use crate::host::system;

/// The JSON form's schema; the number rises when a field changes its meaning or goes away.
const SCHEMA: &str = "fusionlab.sudoers/1";
/// What stands for standard input.
const STANDARD_INPUT: &str = "-";

/// Print the sudoers line that lets fusionlab change one network
///
/// With it `up`, `destroy` and `network apply` need no password. It covers one command of one user: this program, for
/// the lab's network, with a request that it checks again as root. Only a program that nobody but root can change gets one. Putting a whole
/// backup back is not covered.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  fusionlab network sudoers | sudo tee /etc/sudoers.d/fusionlab
  fusionlab network sudoers --check
  sudo cat /etc/sudoers.d/fusionlab | fusionlab network sudoers --check -")]
pub struct SudoersArgs {
    /// Compare what is installed there instead; - reads standard input
    #[arg(long, value_name = "FILE", num_args = 0..=1, default_missing_value = sudoers::FILE)]
    check: Option<PathBuf>,
}

pub async fn run(args: SudoersArgs, context: &Context) -> Result<Success, Failure> {
    let vmnet = calls::any_lab(context)?.internal.vmnet;
    let wanted = calls::networks(context).await?.sudoers(vmnet)?;
    let Some(file) = args.check else {
        if context.json() {
            context.print_json(&json!({ "schema": SCHEMA, "file": sudoers::FILE, "text": wanted }))?;
        } else {
            context.print(wanted.lines())?;
            let width = context.terminal.err.prose_width();
            let how = "To install it, so that sudo asks for no password where fusionlab changes one network:";
            context.say(words::wrap(how, width));
            context.say([format!("  {}", install(context)?)]);
        }
        return Ok(Success::Done);
    };
    let found = sudoers::check(&installed(&file)?, &wanted);
    if found != Check::Equal {
        return Err(differs(&file, found, install(context)?).into());
    }
    if context.json() {
        context.print_json(&json!({ "schema": SCHEMA, "file": file, "text": wanted }))?;
    } else {
        context.say([format!("{} is what it should be", file.display())]);
    }
    Ok(Success::Done)
}

/// Returns what is installed; nothing if there is no such file.
fn installed(file: &Path) -> Result<String, Failure> {
    if file != Path::new(STANDARD_INPUT) {
        return Ok(calls::read_text(file)?.unwrap_or_default());
    }
    let mut text = String::new();
    let read = std::io::stdin().read_to_string(&mut text);
    read.map_err(|error| {
        Report::usage(format!("standard input cannot be read: {error}"))
            .advise("name the installed file in place of -, if this user may read it")
    })?;
    Ok(text)
}

fn differs(file: &Path, found: Check, install: String) -> Report {
    let report =
        |what: &str| Report::new("sudoers-differ", Kind::HostCheck, what).at(file.display().to_string());
    let report = match found {
        Check::Differs(diff) => report("the installed sudoers line is not the one that is wanted")
            .because("it was made for another program, user or folder, or by another release")
            .with_tail(diff.lines()),
        Check::Missing | Check::Equal => report("no sudoers line is installed"),
    };
    report.advise("install it:").run(install)
}

/// Returns the command that installs the line. It names this very program, since the line holds for no other copy.
fn install(context: &Context) -> Result<String, Failure> {
    let options = context.options.again();
    let options = if options.is_empty() { options } else { format!(" {options}") };
    let program = quote(&system::own_program()?.display().to_string());
    Ok(format!("{program}{options} network sudoers | sudo tee {}", quote(sudoers::FILE)))
}
