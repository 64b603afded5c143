//! The syntax of nginx's configuration: directives, blocks, quotes, comments.

/// One directive with its place.
#[derive(Clone, Debug)]
pub struct Directive {
    pub line: usize,
    pub words: Vec<String>,
    pub block: Option<Vec<Directive>>,
}

/// Reads nginx's syntax: words, quotes, comments, `;` and braces.
pub fn parse(text: &str, path: &str) -> Result<Vec<Directive>, String> {
    let mut stack: Vec<(Directive, Vec<Directive>)> = Vec::new();
    let (mut here, mut words, mut start): (Vec<Directive>, Vec<String>, usize) = (Vec::new(), Vec::new(), 0);
    for (line, token) in tokens(text, path)? {
        match token {
            Token::Word(word) => {
                if words.is_empty() {
                    start = line;
                }
                words.push(word);
            }
            Token::Sign(sign) => {
                let words = std::mem::take(&mut words);
                match (sign, words.is_empty()) {
                    (';', false) => here.push(Directive { line: start, words, block: None }),
                    ('{', false) => {
                        let opened = Directive { line: start, words, block: None };
                        stack.push((opened, std::mem::take(&mut here)));
                    }
                    ('}', true) => {
                        let (mut closed, outer) =
                            stack.pop().ok_or_else(|| format!("unexpected \"}}\" in {path}:{line}"))?;
                        closed.block = Some(std::mem::replace(&mut here, outer));
                        here.push(closed);
                    }
                    (other, _) => return Err(format!("unexpected \"{other}\" in {path}:{line}")),
                }
            }
        }
    }
    let last = text.lines().count();
    if !words.is_empty() {
        return Err(format!("unexpected end of file, expecting \";\" or \"}}\" in {path}:{last}"));
    }
    if !stack.is_empty() {
        return Err(format!("unexpected end of file, expecting \"}}\" in {path}:{last}"));
    }
    Ok(here)
}

enum Token {
    Word(String),
    Sign(char),
}

fn tokens(text: &str, path: &str) -> Result<Vec<(usize, Token)>, String> {
    let mut tokens = Vec::new();
    let (mut line, mut chars) = (1, text.chars().peekable());
    while let Some(char) = chars.next() {
        match char {
            '\n' => line += 1,
            '#' => while chars.next_if(|next| *next != '\n').is_some() {},
            ';' | '{' | '}' => tokens.push((line, Token::Sign(char))),
            '"' | '\'' => {
                let (mut word, start) = (String::new(), line);
                loop {
                    let next =
                        chars.next().ok_or_else(|| format!("unexpected end of file in {path}:{start}"))?;
                    if next == char {
                        break;
                    }
                    line += usize::from(next == '\n');
                    word.push(next);
                }
                tokens.push((start, Token::Word(word)));
            }
            space if space.is_whitespace() => {}
            first => {
                let mut word = String::from(first);
                while let Some(next) = chars.next_if(|next| !next.is_whitespace() && !";{}".contains(*next)) {
                    word.push(next);
                }
                tokens.push((line, Token::Word(word)));
            }
        }
    }
    Ok(tokens)
}
