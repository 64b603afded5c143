//! A command as a value: its argv, what it reads, and how a POSIX shell must be told of it.

use std::fmt;

/// A program with its arguments, to be run in a guest or on the host.
#[derive(Clone, PartialEq, Eq)]
pub struct Command {
    pub argv: Vec<String>,
    /// Bytes for its standard input.
    pub input: Vec<u8>,
    /// Whether the input is secret: then it is never logged. Secrets never stand in argv.
    pub secret_input: bool,
}

impl Command {
    pub fn new<I: IntoIterator<Item: Into<String>>>(argv: I) -> Self {
        let argv: Vec<String> = argv.into_iter().map(Into::into).collect();
        assert!(!argv.is_empty(), "a command names its program");
        Self { argv, input: Vec::new(), secret_input: false }
    }

    /// Puts `sudo -n` before it: root without a question, or an error at once.
    pub fn as_root(mut self) -> Self {
        self.argv.splice(0..0, ["sudo".to_owned(), "-n".to_owned()]);
        self
    }

    pub fn with_input(mut self, input: impl Into<Vec<u8>>) -> Self {
        self.input = input.into();
        self
    }

    /// Returns the name of the program that does the work: `kubeadm` of `sudo -n /usr/bin/kubeadm init`.
    pub fn program(&self) -> &str {
        let program = self.argv.iter().find(|word| *word != "sudo" && !word.starts_with('-'));
        program.and_then(|program| program.rsplit('/').next()).unwrap_or_default()
    }

    /// Returns the one line that a POSIX shell splits back into exactly this argv.
    pub fn shell_line(&self) -> String {
        self.argv.iter().map(|word| quote(word)).collect::<Vec<_>>().join(" ")
    }
}

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let input = if self.secret_input { "secret" } else { "plain" };
        write!(f, "Command({}; {} bytes of {input} input)", self.shell_line(), self.input.len())
    }
}

/// Longest command that a message shows whole, in characters.
const BRIEF: usize = 120;

/// Returns a command line as messages show it: the words that fit, and an ellipsis for the rest.
pub fn brief(line: &str) -> String {
    if line.chars().count() <= BRIEF {
        return line.to_owned();
    }
    let end = line.char_indices().nth(BRIEF).map_or(line.len(), |(index, _)| index);
    let end = line[..end].rfind(' ').unwrap_or(end);
    format!("{} …", &line[..end])
}

/// Quotes one word for a POSIX shell; plain words stay as they are.
pub fn quote(word: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:=,@%+".contains(&byte);
    if !word.is_empty() && word.bytes().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// Splits a line that [`Command::shell_line`] could have made; none if it holds anything a shell would expand.
pub fn split(line: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = line.chars();
    while let Some(char) = chars.next() {
        match char {
            ' ' => words.extend(word.take()),
            '\'' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next()? {
                        '\'' => break,
                        quoted => word.push(quoted),
                    }
                }
            }
            '\\' => word.get_or_insert_default().push(chars.next()?),
            '$' | '`' | '"' | '|' | '&' | ';' | '<' | '>' | '(' | ')' | '*' | '?' | '[' | '#' | '~' | '!'
            | '\n' | '\t' => return None,
            plain => word.get_or_insert_default().push(plain),
        }
    }
    words.extend(word);
    Some(words)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_quoted_splits_back(argv in proptest::collection::vec("[^\0]{0,12}", 1..6)) {
            let line = Command::new(argv.clone()).shell_line();
            prop_assert_eq!(split(&line), Some(argv));
        }
    }

    #[test]
    fn a_long_command_is_shown_by_the_words_that_fit() {
        let short = "sudo -n nginx -t";
        assert_eq!(brief(short), short);
        let long = format!("{short} {}", "/etc/kubernetes/ä.conf ".repeat(20));
        let shown = brief(&long);
        assert!(shown.chars().count() <= BRIEF + 2 && shown.ends_with(".conf …"), "{shown}");
        assert_eq!(brief(&"ä".repeat(500)).chars().count(), BRIEF + 2);
    }

    #[test]
    fn plain_words_stay_readable() {
        let command = Command::new(["kubectl", "get", "nodes", "-o", "json"]).as_root();
        assert_eq!(command.shell_line(), "sudo -n kubectl get nodes -o json");
    }

    #[test]
    fn a_secret_is_not_shown() {
        let command = Command { secret_input: true, ..Command::new(["tee"]).with_input("hunter2") };
        assert_eq!(format!("{command:?}"), "Command(tee; 7 bytes of secret input)");
    }

    #[test]
    fn expansions_are_not_words() {
        assert_eq!(split("echo $HOME"), None);
        assert_eq!(split("a; b"), None);
    }
}
