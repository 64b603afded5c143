//! The edit itself, on lines: a list's items are added, replaced and taken out where they stand.

use std::ops::Range;

use serde_json::{Map, Value};

use super::{CURRENT, LISTS, block};
use crate::formats::lines::{self, Ending, Line};

/// What a file has besides that did not exist before.
pub const FRAME: &[(&str, &str)] = &[("apiVersion", "v1"), ("kind", "Config")];

/// Says whether a text says nothing: it is empty, or comments.
pub fn is_blank(text: &str) -> bool {
    text.lines().all(|line| line.trim().is_empty() || line.starts_with('#'))
}

/// Returns a new file.
pub fn fresh(after: &Map<String, Value>) -> String {
    let [version, kind] = FRAME else { unreachable!("a kubeconfig has a version and a kind") };
    let mut all = vec![format!("{}: {}", version.0, version.1)];
    let section = |name: &str| {
        let items = after.get(name).and_then(Value::as_array).into_iter().flatten();
        let items = items.flat_map(|entry| block::item(entry, 0));
        [format!("{name}:")].into_iter().chain(items).collect::<Vec<_>>()
    };
    let [clusters, contexts, users] = LISTS.map(|list| section(list.name));
    all.extend(clusters);
    all.extend(contexts);
    all.extend(current_line(after));
    all.push(format!("{}: {}", kind.0, kind.1));
    all.extend(users);
    all.join("\n") + "\n"
}

/// Returns the text with the lists and the current context of `after`; none if its form allows no small edit. The
/// caller reads the result again.
pub fn edit(text: &str, before: &Map<String, Value>, after: &Map<String, Value>) -> Option<String> {
    let mut all = lines::split(text);
    for list in LISTS {
        let items = |file: &Map<String, Value>| {
            file.get(list.name).and_then(Value::as_array).cloned().unwrap_or_default()
        };
        let (old, new) = (items(before), items(after));
        if old != new {
            edit_list(&mut all, list.name, &old, &new)?;
        }
    }
    if before.get(CURRENT) != after.get(CURRENT) {
        let line = current_line(after)?;
        match top_level(&all, CURRENT) {
            Some(at) => all[at].text = line,
            None => lines::append(&mut all, line),
        }
    }
    Some(lines::join(&all))
}

fn current_line(file: &Map<String, Value>) -> Option<String> {
    let current = file.get(CURRENT)?.as_str()?;
    Some(format!("{CURRENT}: {}", block::scalar(current)))
}

/// Edits one list; `old` is what it holds now.
fn edit_list(all: &mut Vec<Line>, name: &str, old: &[Value], new: &[Value]) -> Option<()> {
    let Some(head) = top_level(all, name) else {
        lines::append(all, format!("{name}:"));
        let end = all.len();
        insert(all, end, new.iter().flat_map(|entry| block::item(entry, 0)).collect());
        return Some(());
    };
    open(all, head, name)?;
    let (indent, items) = items(all, head);
    if items.len() != old.len() {
        return None;
    }
    // From the end, so that what stands before keeps its place.
    for (range, entry) in items.iter().zip(old).rev() {
        let same_name = |other: &&Value| other.get("name") == entry.get("name");
        match new.iter().find(same_name) {
            Some(other) if other == entry => {}
            Some(other) => {
                all.drain(range.clone());
                insert(all, range.start, block::item(other, indent));
            }
            None => drop(all.drain(range.clone())),
        }
    }
    if new.is_empty() {
        all[head].text = format!("{name}: []");
        return Some(());
    }
    let is_new = |entry: &&Value| !old.iter().any(|other| other.get("name") == entry.get("name"));
    let added: Vec<String> = new.iter().filter(is_new).flat_map(|entry| block::item(entry, indent)).collect();
    let (_, items) = self::items(all, head);
    let end = items.last().map_or(head + 1, |last| last.end);
    insert(all, end, added);
    Some(())
}

/// Makes a list's head one that items may follow: an empty list behind it goes.
fn open(all: &mut [Line], head: usize, name: &str) -> Option<()> {
    let (key, rest) = all[head].text.split_once(':')?;
    debug_assert_eq!(key, name);
    let (value, comment) = match rest.split_once(" #") {
        Some((value, comment)) => (value.trim(), format!(" #{comment}")),
        None => (rest.trim(), String::new()),
    };
    if !["", "[]", "null", "~"].contains(&value) {
        return None;
    }
    all[head].text = format!("{name}:{comment}");
    Some(())
}

/// Returns the line of a key that stands at the very left; none if there is none.
fn top_level(all: &[Line], key: &str) -> Option<usize> {
    let is_key = |line: &Line| {
        let rest = line.text.strip_prefix(key).and_then(|rest| rest.strip_prefix(':'));
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
    };
    all.iter().position(is_key)
}

/// Returns the indent of a list's items and the lines of each, without comments that follow it.
fn items(all: &[Line], head: usize) -> (usize, Vec<Range<usize>>) {
    let is_item = |text: &str, indent: usize| {
        let rest = text.get(indent..).unwrap_or_default();
        text[..text.len().min(indent)].trim().is_empty() && (rest == "-" || rest.starts_with("- "))
    };
    let is_quiet = |text: &str| text.trim().is_empty() || text.trim_start().starts_with('#');
    let body = head + 1..all.len();
    let first = body.clone().find(|at| !is_quiet(&all[*at].text));
    let Some(first) = first.filter(|at| all[*at].text.trim_start().starts_with('-')) else {
        return (0, Vec::new());
    };
    let depth = |text: &str| text.len() - text.trim_start().len();
    let indent = depth(&all[first].text);
    let ends = |text: &str| {
        let depth = depth(text);
        !is_quiet(text) && (depth < indent || depth == indent && !is_item(text, indent))
    };
    let end = (first..all.len()).find(|at| ends(&all[*at].text)).unwrap_or(all.len());
    let starts: Vec<usize> = (first..end).filter(|at| is_item(&all[*at].text, indent)).collect();
    let next = starts.iter().skip(1).copied().chain([end]);
    // What looks like a comment further in may be a line of a text.
    let is_of_item = |text: &str| !text.trim().is_empty() && depth(text) > indent;
    let items = starts.iter().zip(next).map(|(start, next)| {
        let last = (*start..next).rev().find(|at| !is_quiet(&all[*at].text) || is_of_item(&all[*at].text));
        *start..last.map_or(next, |last| last + 1)
    });
    (indent, items.collect())
}

fn insert(all: &mut Vec<Line>, at: usize, added: Vec<String>) {
    if added.is_empty() {
        return;
    }
    let ending = lines::ending_of(all);
    if let Some(before) = at.checked_sub(1).and_then(|before| all.get_mut(before))
        && before.ending == Ending::None
    {
        before.ending = ending;
    }
    all.splice(at..at, added.into_iter().map(|text| Line { text, ending }));
}
