//! `fusionlab completions` and `fusionlab man`: made from the same types as the help.

use clap::{Args, Command, CommandFactory};
use clap_complete::Shell;
use clap_complete::env::Shells;

use super::Cli;
use super::candidates::{self, VARIABLE};
use super::context::Context;
use super::error::{Failure, Report, Success};

const PROGRAM: &str = "fusionlab";

/// Print a shell's completion script
///
/// By it the shell asks fusionlab at each Tab: for verbs and options, the lab's machines, backups, checks and ids.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  source <(fusionlab completions bash)    in ~/.bashrc
  source <(fusionlab completions zsh)     in ~/.zshrc, below compinit
  fusionlab completions fish > ~/.config/fish/completions/fusionlab.fish

Where ~/.zshrc does not call compinit yet, this line goes above:
  autoload -Uz compinit && compinit")]
pub struct CompletionsArgs {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

/// Print a manual page
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  fusionlab man > fusionlab.1
  fusionlab man up > fusionlab-up.1
  fusionlab man network apply > fusionlab-network-apply.1")]
pub struct ManArgs {
    /// The verb, with its own verb if it has some; without one, the page of the whole program
    #[arg(add = candidates::verbs(), value_name = "VERB")]
    verbs: Vec<String>,

    /// List the verbs that have a page
    #[arg(long, conflicts_with = "verbs")]
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
    let page = page(&args.verbs).ok_or_else(|| {
        Report::usage(format!("there is no verb \"{}\"", args.verbs.join(" ")))
            .advise("these have a page:")
            .run("fusionlab man --list")
    })?;
    context.print([page.trim_end()])?;
    Ok(Success::Done)
}

/// Returns the verbs that people are told of, each before its own verbs.
fn verbs() -> Vec<String> {
    let mut all = Vec::new();
    below(&Cli::command(), "", &mut all);
    all
}

fn below(command: &Command, before: &str, all: &mut Vec<String>) {
    for verb in command.get_subcommands().filter(|verb| !verb.is_hide_set()) {
        let name = format!("{before}{}", verb.get_name());
        all.push(name.clone());
        below(verb, &format!("{name} "), all);
    }
}

/// Returns a manual page as roff; none if there is no such verb.
fn page(verbs: &[String]) -> Option<String> {
    let mut whole = Cli::command();
    whole.build();
    let mut command = &whole;
    for verb in verbs {
        command = command.find_subcommand(verb).filter(|found| !found.is_hide_set())?;
    }
    let name = [&[PROGRAM.to_owned()], verbs].concat().join("-");
    let mut page = Vec::new();
    // Who reads the page sees in its corners what it belongs to.
    clap_mangen::Man::new(command.clone())
        .title(name.to_uppercase())
        .section("1")
        .source(concat!("fusionlab ", env!("CARGO_PKG_VERSION")))
        .manual("fusionlab")
        .render(&mut page)
        .expect("writing to memory does not fail");
    Some(in_sections(&String::from_utf8_lossy(&page)))
}

/// Gives what stands behind the help the sections that manual pages have for it; clap_mangen puts all of it into one, `EXTRA`.
fn in_sections(page: &str) -> String {
    let Some((before, rest)) = page.split_once(".SH EXTRA\n") else { return page.to_owned() };
    let (extra, after) = rest.split_at(rest.find("\n.SH ").map_or(rest.len(), |end| end + 1));
    let section = |part: &str| match (part.strip_prefix("Examples:\n"), part.strip_prefix("Exit codes: ")) {
        (Some(examples), _) => format!(".SH EXAMPLES\n.nf\n{examples}\n.fi\n"),
        (None, Some(codes)) => format!(".SH \"EXIT STATUS\"\n{codes}\n"),
        (None, None) => format!(".PP\n.nf\n{part}\n.fi\n"),
    };
    let sections: String = extra.trim_end().split("\n\n").map(section).collect();
    format!("{before}{sections}{after}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_verb_has_a_manual_page() {
        assert!(verbs().iter().any(|verb| verb == "network apply"));
        for verb in verbs() {
            let words: Vec<String> = verb.split(' ').map(str::to_owned).collect();
            let (page, name) = (page(&words).unwrap(), words.join("\\-"));
            assert!(page.contains(&format!("fusionlab\\-{name}")), "{page}");
            let title = format!(".TH FUSIONLAB-{} 1 ", words.join("-").to_uppercase());
            assert!(page.contains(&title), "{title}: {page}");
            assert!(page.contains("\n.SH EXAMPLES\n.nf\n  ") && !page.contains("EXTRA"), "{page}");
        }
        let whole = page(&[]).unwrap();
        assert!(whole.contains(".SH NAME") && whole.contains(".TH FUSIONLAB 1 "), "{whole}");
        assert!(
            whole.contains("\n.SH \"EXIT STATUS\"\n0 done, ") && whole.contains("\n.SH VERSION\n"),
            "{whole}"
        );
        assert_eq!(page(&["fly".to_owned()]), None);
    }
}
