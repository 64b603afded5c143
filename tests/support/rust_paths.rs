//! Finds the paths (`a::b::c`) that a Rust source names: in `use` trees and in code, not in comments and strings.
//!
//! It knows as much of Rust as that takes: tokens, `use` trees, inline modules, `#[cfg(test)]`. Not macros' insides as
//! such, but their tokens are looked at like any others.

use std::collections::HashMap;

/// A path as far as the file itself tells: `crate`, `self`, `super` and names from `use` are resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// The segments; the first is `crate` for our own, the last `*` for a glob.
    pub segments: Vec<String>,
    /// Counted from 1.
    pub line: usize,
    /// Whether it stands in an item under `#[cfg(test)]`.
    pub in_test: bool,
}

/// Returns every path in a source file that is the given module (`["plan", "step"]`).
pub fn paths(source: &str, module: &[&str]) -> Vec<Named> {
    let tokens = tokens(source);
    let in_test = test_items(&tokens);
    let mut reader = Reader {
        tokens: &tokens,
        in_test: &in_test,
        modules: vec![(
            0,
            std::iter::once("crate").chain(module.iter().copied()).map(str::to_owned).collect(),
        )],
        aliases: HashMap::new(),
        found: Vec::new(),
    };
    // Names may be used above the `use` that brings them: the first pass only learns the names.
    reader.read();
    reader.found.clear();
    reader.read();
    reader.found
}

/// Returns the modules in files of their own that a source declares under `#[cfg(test)]`.
pub fn test_modules(source: &str) -> Vec<String> {
    let tokens = tokens(source);
    let in_test = test_items(&tokens);
    let declares = |at: &usize| in_test[*at] && tokens[*at].word() == Some("mod") && tokens[*at + 2].is(';');
    (0..tokens.len().saturating_sub(2))
        .filter(declares)
        .filter_map(|at| tokens[at + 1].word().map(str::to_owned))
        .collect()
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    Word(String),
    /// `::`
    Colons,
    Sign(char),
}

#[derive(Clone, Debug)]
struct Token {
    kind: Kind,
    line: usize,
}

impl Token {
    fn word(&self) -> Option<&str> {
        match &self.kind {
            Kind::Word(word) => Some(word),
            _ => None,
        }
    }

    fn is(&self, sign: char) -> bool {
        self.kind == Kind::Sign(sign)
    }
}

fn tokens(source: &str) -> Vec<Token> {
    let chars: Vec<char> = source.chars().collect();
    let mut tokens = Vec::new();
    let (mut at, mut line) = (0, 1);
    while at < chars.len() {
        let end = at + token_length(&chars[at..]);
        let text = &chars[at..end];
        let kind = match text {
            [':', ':'] => Some(Kind::Colons),
            ['r', '#', word @ ..] if word.first().is_some_and(|&c| is_word(c)) => {
                Some(Kind::Word(word.iter().collect()))
            }
            _ if text.iter().all(|&c| is_word(c)) => Some(Kind::Word(text.iter().collect())),
            [sign] if !sign.is_whitespace() => Some(Kind::Sign(*sign)),
            _ => None,
        };
        tokens.extend(kind.map(|kind| Token { kind, line }));
        line += text.iter().filter(|&&c| c == '\n').count();
        at = end;
    }
    tokens
}

fn is_word(char: char) -> bool {
    char == '_' || char.is_alphanumeric()
}

/// Returns how many characters the token, comment, literal or blank at the start takes.
fn token_length(chars: &[char]) -> usize {
    let word = chars.iter().take_while(|&&c| is_word(c)).count();
    let starts = |text: &str| text.chars().enumerate().all(|(at, c)| chars.get(at) == Some(&c));
    if starts("//") {
        return chars.iter().take_while(|&&c| c != '\n').count();
    }
    if starts("/*") {
        return block_comment(chars);
    }
    if starts("::") {
        return 2;
    }
    if matches!(chars[..word].iter().collect::<String>().as_str(), "" | "r" | "b" | "br" | "c" | "cr") {
        let hashes = chars[word..].iter().take_while(|&&c| c == '#').count();
        let raw = chars[..word].contains(&'r');
        match chars.get(word + hashes) {
            Some('"') if raw => return raw_string(chars, word + hashes + 1, hashes),
            Some('"') if hashes == 0 => return quoted(chars, word + 1, '"'),
            Some('\'') if hashes == 0 && !raw => return quote(chars, word),
            Some(&c) if raw && word == 1 && hashes == 1 && is_word(c) => {
                return 2 + chars[2..].iter().take_while(|&&c| is_word(c)).count();
            }
            _ => {}
        }
    }
    word.max(1)
}

fn block_comment(chars: &[char]) -> usize {
    let (mut at, mut depth) = (2, 1);
    while depth > 0 && at < chars.len() {
        match (chars[at], chars.get(at + 1)) {
            ('/', Some('*')) => (at, depth) = (at + 2, depth + 1),
            ('*', Some('/')) => (at, depth) = (at + 2, depth - 1),
            _ => at += 1,
        }
    }
    at
}

fn raw_string(chars: &[char], from: usize, hashes: usize) -> usize {
    let ends = |at: usize| {
        chars[at] == '"' && chars[at + 1..].iter().take(hashes).filter(|&&c| c == '#').count() == hashes
    };
    (from..chars.len()).find(|&at| ends(at)).map_or(chars.len(), |at| at + 1 + hashes)
}

/// Returns the end of what a quote closes, escapes minded.
fn quoted(chars: &[char], mut at: usize, close: char) -> usize {
    while at < chars.len() && chars[at] != close {
        at += if chars[at] == '\\' { 2 } else { 1 };
    }
    (at + 1).min(chars.len())
}

/// A single quote opens a character or a lifetime: `'a'` closes, `'a` does not.
fn quote(chars: &[char], at: usize) -> usize {
    let is_char = chars.get(at + 1) == Some(&'\\') || chars.get(at + 2) == Some(&'\'');
    if is_char {
        return quoted(chars, at + 1, '\'');
    }
    at + 1 + chars[at + 1..].iter().take_while(|&&c| is_word(c)).count()
}

/// Says of each token whether it stands in an item under `#[cfg(test)]`.
fn test_items(tokens: &[Token]) -> Vec<bool> {
    let mut in_test = vec![false; tokens.len()];
    let marks = |at: usize| {
        let text: Vec<_> = tokens[at..].iter().take(7).map(|token| &token.kind).collect();
        let [hash, open, cfg, left, test, right, close] = text[..] else { return false };
        [hash, open, left, right, close] == ['#', '[', '(', ')', ']'].map(Kind::Sign).each_ref()
            && [cfg, test] == ["cfg", "test"].map(|word| Kind::Word(word.to_owned())).each_ref()
    };
    let mut at = 0;
    while at < tokens.len() {
        if !marks(at) {
            at += 1;
            continue;
        }
        let end = item_end(tokens, at + 7);
        in_test[at..end].fill(true);
        at = end;
    }
    in_test
}

/// Returns where an item ends: after its semicolon or its braces; a field or variant at its comma.
fn item_end(tokens: &[Token], from: usize) -> usize {
    let mut depth = 0;
    for (at, token) in tokens.iter().enumerate().skip(from) {
        match token.kind {
            Kind::Sign('(' | '[' | '{') => depth += 1,
            Kind::Sign(')' | ']' | '}') if depth == 0 => return at,
            Kind::Sign(')' | ']') => depth -= 1,
            Kind::Sign('}') if depth == 1 => return at + 1,
            Kind::Sign('}') => depth -= 1,
            Kind::Sign(';' | ',') if depth == 0 => return at + 1,
            _ => {}
        }
    }
    tokens.len()
}

struct Reader<'a> {
    tokens: &'a [Token],
    in_test: &'a [bool],
    /// The modules we are in, each with the depth of braces it began at.
    modules: Vec<(usize, Vec<String>)>,
    /// What a name from a `use` stands for.
    aliases: HashMap<String, Vec<String>>,
    found: Vec<Named>,
}

impl Reader<'_> {
    fn read(&mut self) {
        let (mut at, mut depth) = (0, 0);
        while let Some(token) = self.tokens.get(at) {
            match &token.kind {
                Kind::Sign('{') => depth += 1,
                Kind::Sign('}') => {
                    depth -= 1;
                    if self.modules.len() > 1 && self.modules.last().is_some_and(|(from, _)| *from == depth) {
                        self.modules.pop();
                    }
                }
                Kind::Word(word) if word == "mod" && self.sign(at + 2, '{') => self.enter(at + 1, depth),
                Kind::Word(word) if word == "use" && !self.sign(at + 1, '<') => {
                    at = self.tree(at + 1, &[]);
                    continue;
                }
                Kind::Word(_) if self.begins_path(at) => {
                    at = self.path(at);
                    continue;
                }
                _ => {}
            }
            at += 1;
        }
    }

    fn sign(&self, at: usize, sign: char) -> bool {
        self.tokens.get(at).is_some_and(|token| token.is(sign))
    }

    fn colons(&self, at: usize) -> bool {
        self.tokens.get(at).is_some_and(|token| token.kind == Kind::Colons)
    }

    fn word(&self, at: usize) -> Option<&str> {
        self.tokens.get(at).and_then(Token::word)
    }

    fn enter(&mut self, name: usize, depth: usize) {
        let Some(name) = self.word(name).map(str::to_owned) else { return };
        let mut module = self.module().to_vec();
        module.push(name);
        self.modules.push((depth, module));
    }

    fn module(&self) -> &[String] {
        &self.modules.last().expect("the file's own module is never left").1
    }

    fn begins_path(&self, at: usize) -> bool {
        let continues =
            at >= 2 && self.colons(at - 1) && (self.word(at - 2).is_some() || self.sign(at - 2, '>'));
        self.colons(at + 1) && !continues && !(at >= 1 && self.sign(at - 1, '.'))
    }

    /// Reads `a::b::c` in code; returns where it ends.
    fn path(&mut self, mut at: usize) -> usize {
        let from = at;
        let mut segments = vec![self.word(at).expect("a path begins with a word").to_owned()];
        while self.colons(at + 1) && self.word(at + 2).is_some() {
            segments.extend(self.word(at + 2).map(str::to_owned));
            at += 2;
        }
        let segments = self.resolve(&segments, true);
        self.name(segments, from);
        at + 1
    }

    /// Reads a `use` tree below a prefix; returns where it ends: at its semicolon, comma or closing brace.
    fn tree(&mut self, mut at: usize, prefix: &[String]) -> usize {
        let from = at;
        let mut segments = prefix.to_vec();
        let mut alias = None;
        while let Some(token) = self.tokens.get(at) {
            match &token.kind {
                Kind::Sign('{') => {
                    at += 1;
                    while at < self.tokens.len() && !self.sign(at, '}') {
                        at = self.tree(at, &segments);
                        at += usize::from(self.sign(at, ','));
                    }
                    return at + 1;
                }
                Kind::Sign('*') => segments.push("*".to_owned()),
                Kind::Sign(',' | '}' | ';') => break,
                Kind::Word(word) if word == "as" => {
                    alias = self.word(at + 1).map(str::to_owned);
                    at += 1;
                }
                Kind::Word(word) => segments.push(word.clone()),
                _ => {}
            }
            at += 1;
        }
        // In `a::{self}` the word stands for `a`.
        if segments.len() > 1 && segments.last().is_some_and(|last| last == "self") {
            segments.pop();
        }
        let resolved = self.resolve(&segments, false);
        let name = alias.or_else(|| segments.last().cloned()).filter(|_| !self.in_test[from]);
        if let Some(name) = name {
            self.aliases.insert(name, resolved.clone());
        }
        self.name(resolved, from);
        at
    }

    /// Resolves what the file itself can; a name from a `use` only in code, since a `use` names whole paths.
    fn resolve(&self, segments: &[String], in_code: bool) -> Vec<String> {
        let Some((first, mut rest)) = segments.split_first() else { return Vec::new() };
        let own = matches!(first.as_str(), "self" | "super");
        let mut resolved = match first.as_str() {
            "self" => self.module().to_vec(),
            "super" => self.parent(self.module()),
            name => {
                self.aliases.get(name).filter(|_| in_code).cloned().unwrap_or_else(|| vec![first.clone()])
            }
        };
        while own && rest.first().is_some_and(|next| next == "super") {
            resolved = self.parent(&resolved);
            rest = &rest[1..];
        }
        resolved.extend(rest.iter().cloned());
        resolved
    }

    fn parent(&self, module: &[String]) -> Vec<String> {
        module[..module.len().saturating_sub(1).max(1)].to_vec()
    }

    fn name(&mut self, segments: Vec<String>, at: usize) {
        if !segments.is_empty() {
            let (line, in_test) = (self.tokens[at].line, self.in_test[at]);
            self.found.push(Named { segments, line, in_test });
        }
    }
}
