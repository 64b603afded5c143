//! What the terminal can show, decided once from flags, environment and streams, then passed on as values.

use std::borrow::Cow;
use std::io::IsTerminal;

use clap::ValueEnum;
use console::{Style, Term};

/// When to use colours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum ColorChoice {
    /// On a terminal, unless NO_COLOR is set or TERM is `dumb`; CLICOLOR_FORCE turns them on elsewhere.
    #[default]
    Auto,
    Always,
    Never,
}

/// Width assumed where a terminal does not tell.
const DEFAULT_WIDTH: usize = 80;
/// Width for files and pipes: wide enough that nothing is cut off there.
pub const PIPE_WIDTH: usize = 1000;
/// Prose wider than this is hard to read.
const PROSE_WIDTH: usize = 100;

/// How to draw on one stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pen {
    pub color: bool,
    /// Whether symbols beyond ASCII may be used.
    pub unicode: bool,
    /// Columns.
    pub width: usize,
}

/// What a piece of text means; its colour follows. Text must make sense without it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ink {
    Good,
    Bad,
    Warn,
    /// Present, but not what the eye should go to.
    Dim,
    Strong,
    /// What happens now; names of commands.
    Accent,
}

impl Pen {
    /// A pen for tests and files: no colour, all symbols.
    pub const fn plain(width: usize) -> Self {
        Self { color: false, unicode: true, width }
    }

    /// Returns the text in the ink's colour, or as it is without colours.
    pub fn paint(&self, ink: Ink, text: &str) -> String {
        if !self.color || text.is_empty() {
            return text.to_owned();
        }
        let style = Style::new().force_styling(true);
        let style = match ink {
            Ink::Good => style.green(),
            Ink::Bad => style.red().bold(),
            // Not yellow, which nobody can read on white.
            Ink::Warn => style.magenta(),
            Ink::Dim => style.dim(),
            Ink::Strong => style.bold(),
            Ink::Accent => style.cyan(),
        };
        style.apply_to(text).to_string()
    }

    fn symbol(&self, unicode: &'static str, ascii: &'static str) -> &'static str {
        if self.unicode { unicode } else { ascii }
    }

    pub fn tick(&self) -> &'static str {
        self.symbol("✓", "+")
    }

    pub fn cross(&self) -> &'static str {
        self.symbol("✗", "x")
    }

    pub fn running(&self) -> &'static str {
        self.symbol("●", "*")
    }

    pub fn pending(&self) -> &'static str {
        self.symbol("·", ".")
    }

    pub fn skipped(&self) -> &'static str {
        self.symbol("–", "-")
    }

    pub fn ellipsis(&self) -> &'static str {
        self.symbol("…", "~")
    }

    /// Returns prose as it can be shown: an ellipsis in it is three dots where there is none.
    pub fn spelled<'a>(&self, prose: &'a str) -> Cow<'a, str> {
        if self.unicode { prose.into() } else { prose.replace('…', "...").into() }
    }

    /// What stands between the parts of one line.
    pub fn separator(&self) -> &'static str {
        self.symbol("  ·  ", "  |  ")
    }

    /// What stands for "no value" in a table.
    pub fn none(&self) -> &'static str {
        self.symbol("–", "-")
    }

    /// Says whether lines end somewhere: those of files and pipes are their readers' to break.
    pub fn wraps(&self) -> bool {
        self.width < PIPE_WIDTH
    }

    /// Returns the width for running text.
    pub fn prose_width(&self) -> usize {
        self.width.min(PROSE_WIDTH)
    }

    /// Shortens to a number of columns, with an ellipsis where something was cut off.
    pub fn fit(&self, text: &str, width: usize) -> String {
        if width == 0 {
            return String::new();
        }
        console::truncate_str(text, width, self.ellipsis()).into_owned()
    }
}

/// The two streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terminal {
    /// For data: standard output.
    pub out: Pen,
    /// For words: standard error.
    pub err: Pen,
    /// Whether words go to a terminal that can redraw lines.
    pub live: bool,
    /// Whether results do.
    pub redraws: bool,
    /// Whether questions can be asked: standard input and standard error are a terminal.
    pub can_ask: bool,
}

impl Terminal {
    /// Looks at the process's streams and environment. A plain one is never redrawn, and has neither colours, unless they are
    /// asked for, nor symbols: what a screen reader says in the order in which it happens.
    pub fn detect(choice: ColorChoice, plain: bool) -> Self {
        let env = |name: &str| std::env::var(name).ok();
        let choice = if plain && choice == ColorChoice::Auto { ColorChoice::Never } else { choice };
        let (out, err) = (std::io::stdout().is_terminal(), std::io::stderr().is_terminal());
        let pen = |is_terminal: bool, term: &Term| Pen {
            color: colors(choice, is_terminal, env),
            unicode: !plain && speaks_unicode(env),
            width: match (is_terminal, term.size_checked()) {
                (true, Some((_, columns))) if columns > 0 => columns.into(),
                (true, _) => DEFAULT_WIDTH,
                (false, _) => PIPE_WIDTH,
            },
        };
        Self {
            out: pen(out, &Term::stdout()),
            err: pen(err, &Term::stderr()),
            live: err && !plain && !is_dumb(env),
            redraws: out && !plain && !is_dumb(env),
            can_ask: err && std::io::stdin().is_terminal(),
        }
    }
}

/// Decides on colours: a flag wins, then NO_COLOR, CLICOLOR_FORCE, a dumb terminal, and whether there is one at all.
pub fn colors(choice: ColorChoice, is_terminal: bool, env: impl Fn(&str) -> Option<String> + Copy) -> bool {
    let set = |name| env(name).is_some_and(|value| !value.is_empty());
    match choice {
        ColorChoice::Always => true,
        ColorChoice::Never => false,
        ColorChoice::Auto if set("NO_COLOR") => false,
        ColorChoice::Auto if set("CLICOLOR_FORCE") && env("CLICOLOR_FORCE").as_deref() != Some("0") => true,
        ColorChoice::Auto => is_terminal && !is_dumb(env),
    }
}

fn is_dumb(env: impl Fn(&str) -> Option<String>) -> bool {
    env("TERM").is_some_and(|term| term == "dumb")
}

/// Says whether the locale's characters are UTF-8; the first of the three variables that is set decides, as in POSIX.
pub fn speaks_unicode(env: impl Fn(&str) -> Option<String>) -> bool {
    ["LC_ALL", "LC_CTYPE", "LANG"]
        .iter()
        .find_map(|name| env(name).filter(|value| !value.is_empty()))
        .is_some_and(|locale| {
            let locale = locale.to_ascii_lowercase();
            locale.contains("utf-8") || locale.contains("utf8")
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env_of(pairs: &'static [(&'static str, &'static str)]) -> impl Fn(&str) -> Option<String> + Copy {
        |name| pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
    }

    #[test]
    fn a_flag_beats_the_environment_and_the_environment_beats_the_terminal() {
        let (auto, forced, refused) =
            (env_of(&[]), env_of(&[("CLICOLOR_FORCE", "1")]), env_of(&[("NO_COLOR", "1")]));
        assert!(colors(ColorChoice::Auto, true, auto));
        assert!(!colors(ColorChoice::Auto, false, auto));
        assert!(colors(ColorChoice::Auto, false, forced));
        assert!(!colors(ColorChoice::Auto, true, refused));
        assert!(colors(ColorChoice::Always, false, refused));
        assert!(!colors(ColorChoice::Never, true, forced));
        assert!(!colors(ColorChoice::Auto, true, env_of(&[("TERM", "dumb")])));
        assert!(
            colors(ColorChoice::Auto, true, env_of(&[("NO_COLOR", "")])),
            "an empty NO_COLOR counts as unset"
        );
    }

    #[test]
    fn symbols_follow_the_locale() {
        assert!(speaks_unicode(env_of(&[("LANG", "de_CH.UTF-8")])));
        assert!(speaks_unicode(env_of(&[("LANG", "C"), ("LC_CTYPE", "C.utf8")])));
        assert!(!speaks_unicode(env_of(&[("LANG", "de_CH.UTF-8"), ("LC_ALL", "C")])));
        assert!(!speaks_unicode(env_of(&[])));
    }

    #[test]
    fn colours_are_the_terminals_own_six_bold_and_dim_which_every_theme_makes_legible() {
        const BOLD_OR_DIM: [u8; 2] = [1, 2];
        for ink in [Ink::Good, Ink::Bad, Ink::Warn, Ink::Dim, Ink::Strong, Ink::Accent] {
            let painted = Pen { color: true, ..Pen::plain(80) }.paint(ink, "x");
            let (before, after) = painted.split_once('x').unwrap();
            let codes: Vec<u8> = before
                .split("\u{1b}[")
                .skip(1)
                .flat_map(|codes| codes.strip_suffix('m').unwrap().split(';'))
                .map(|code| code.parse().unwrap())
                .collect();
            assert!(!codes.is_empty(), "{ink:?}: {painted:?}");
            assert!(
                codes.iter().all(|code| BOLD_OR_DIM.contains(code) || (31..=36).contains(code)),
                "{ink:?}: {codes:?}"
            );
            assert_eq!(after, "\u{1b}[0m", "{ink:?}");
        }
    }

    #[test]
    fn without_colours_paint_is_nothing() {
        assert_eq!(Pen::plain(80).paint(Ink::Bad, "no"), "no");
        let painted = Pen { color: true, ..Pen::plain(80) }.paint(Ink::Bad, "no");
        assert_ne!(painted, "no");
        assert_eq!(console::strip_ansi_codes(&painted), "no");
    }
}
