//! `fusionlab completions` and `fusionlab man`: made from the same types as the help.

use clap::{Args, Command, CommandFactory};
use clap_complete::Shell;
use clap_complete::env::Shells;

use super::Cli;
use super::candidates::VARIABLE;
use super::context::Context;
use super::error::{Failure, Report, Success};

const PROGRAM: &str = "fusionlab";

/// Print a shell's completion script
///
/// By it the shell asks fusionlab at each Tab: for verbs and options, the lab's machines, backups, checks and ids.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  fusionlab completions zsh > ~/.zfunc/_fusionlab
  source <(fusionlab completions bash)")]
pub struct CompletionsArgs {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

/// Print a manual page
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  fusionlab man > fusionlab.1
  fusionlab man up > fusionlab-up.1")]
pub struct ManArgs {
    /// The verb; without one, the page of the whole program
    verb: Option<String>,

    /// List the verbs that have a page
    #[arg(long, conflicts_with = "verb")]
    list: bool,
}

pub fn run(args: CompletionsArgs, context: &Context) -> Result<Success, Failure> {
    let mut script = Vec::new();
    let shell = args.shell.to_string();
    let shells = Shells::builtins();
    let completer = shells.completer(&shell).expect("every shell of clap's is known to its completions");
    // By its name, so that the program on the PATH is asked, which knows its own verbs.
    completer
        .write_registration(VARIABLE, PROGRAM, PROGRAM, PROGRAM, &mut script)
        .expect("writing to memory does not fail");
    context.print([String::from_utf8_lossy(&script).trim_end()])?;
    Ok(Success::Done)
}

pub fn man(args: ManArgs, context: &Context) -> Result<Success, Failure> {
    if args.list {
        context.print(verbs())?;
        return Ok(Success::Done);
    }
    let page = page(args.verb.as_deref())
        .ok_or_else(|| Report::usage("there is no such verb").run("fusionlab help"))?;
    context.print([page.trim_end()])?;
    Ok(Success::Done)
}

/// Returns the verbs that people are told of.
fn verbs() -> Vec<String> {
    let whole = Cli::command();
    let shown = whole.get_subcommands().filter(|verb| !verb.is_hide_set());
    shown.map(|verb| verb.get_name().to_owned()).collect()
}

/// Returns a manual page as roff; none if there is no such verb.
fn page(verb: Option<&str>) -> Option<String> {
    let mut whole = Cli::command();
    whole.build();
    let command: Command = match verb {
        None => whole,
        Some(verb) => whole.find_subcommand(verb).filter(|found| !found.is_hide_set())?.clone(),
    };
    let mut page = Vec::new();
    clap_mangen::Man::new(command).render(&mut page).expect("writing to memory does not fail");
    Some(String::from_utf8_lossy(&page).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_verb_has_a_manual_page() {
        for verb in verbs() {
            let page = page(Some(&verb)).unwrap();
            assert!(page.contains(&format!("fusionlab\\-{verb}")), "{page}");
        }
        assert!(page(None).unwrap().contains(".SH NAME"));
        assert_eq!(page(Some("fly")), None);
    }
}
