//! A user's kubeconfig: one lab's entries put in and taken out, and every other byte left as it is.
//!
//! What is ours bears our mark, an extension as client-go has them for tools, so that a user may rename it and other
//! programs may rewrite the file. The text is edited (`text.rs`) and read again: if it does not say exactly what was to
//! be, it is not used.

mod block;
mod text;

use serde_json::{Map, Value, json};

/// The name of our extension in an entry.
pub const EXTENSION: &str = "fusionlab.dev";

/// The three lists of a kubeconfig and the key of an entry's content, in the order in which kubectl writes them.
const LISTS: [List; 3] = [
    List { name: "clusters", content: "cluster" },
    List { name: "contexts", content: "context" },
    List { name: "users", content: "user" },
];
const CURRENT: &str = "current-context";
const NAMESPACE: &str = "namespace";

#[derive(Clone, Copy, Debug)]
struct List {
    name: &'static str,
    content: &'static str,
}

/// Whose entries they are: two homes may have labs of the same name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    pub lab: String,
    /// The folder of everything of fusionlab's.
    pub home: String,
}

/// Why a file is left as it is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It cannot be read.
    #[error("it is not YAML that can be understood: {0}")]
    NotYaml(String),
    #[error("it is no kubeconfig: {0}")]
    NotKubeconfig(String),
    /// An entry that is not ours has the name that ours would have.
    #[error("it has a {kind} \"{name}\" that is not this lab's")]
    Foreign { kind: &'static str, name: String },
    /// An edit would not say what is meant.
    #[error("it is written in a form that cannot be changed safely")]
    ByHand,
}

/// One thing that an edit does to the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deed {
    /// `cluster`, `context` or `user`, and its name.
    Added(&'static str, String),
    Replaced(&'static str, String),
    Removed(&'static str, String),
    /// The current context is this one now; none if there is none any more.
    Current(Option<String>),
}

/// An edited file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edited {
    pub text: String,
    /// Nothing if the file is as it should be.
    pub deeds: Vec<Deed>,
    /// The context that kubectl uses without being told one.
    pub current: Option<String>,
}

/// Puts the entries of a lab's own kubeconfig into a user's, which may not exist yet. The current context is set where
/// there is none, or if it is to be used from now on.
///
/// # Errors
/// With the reason why nothing can be done; see [`Refusal`].
pub fn merge(file: Option<&str>, own: &str, owner: &Owner, select: bool) -> Result<Edited, Refusal> {
    let own = read(own)?;
    let before = read(file.unwrap_or_default())?;
    let mut after = before.clone();
    let mut deeds = Vec::new();
    for list in LISTS {
        for entry in entries(&own, list)? {
            deeds.extend(put(&mut after, list, marked(entry, list, owner), owner)?);
        }
    }
    let wanted = own.get(CURRENT).and_then(Value::as_str).unwrap_or_default();
    let current = current_of(&before);
    if current.as_deref() != Some(wanted) && (select || current.is_none()) {
        after.insert(CURRENT.to_owned(), wanted.into());
        deeds.push(Deed::Current(Some(wanted.to_owned())));
    }
    edited(file.unwrap_or_default(), &before, after, deeds)
}

/// Takes a lab's entries out of a user's kubeconfig, whatever they are called by now.
///
/// # Errors
/// With the reason why nothing can be done; see [`Refusal`].
pub fn remove(file: &str, owner: &Owner) -> Result<Edited, Refusal> {
    let before = read(file)?;
    let mut after = before.clone();
    let mut deeds = Vec::new();
    let mut contexts = Vec::new();
    for list in LISTS {
        let all = entries(&before, list)?;
        let (ours, others): (Vec<_>, Vec<_>) = all.into_iter().partition(|entry| is_ours(entry, list, owner));
        if ours.is_empty() {
            continue;
        }
        let names: Vec<String> = ours.iter().map(name_of).collect();
        if list.content == "context" {
            contexts.clone_from(&names);
        }
        deeds.extend(names.into_iter().map(|name| Deed::Removed(list.content, name)));
        after.insert(list.name.to_owned(), Value::Array(others));
    }
    if current_of(&before).is_some_and(|current| contexts.contains(&current)) {
        after.insert(CURRENT.to_owned(), "".into());
        deeds.push(Deed::Current(None));
    }
    edited(file, &before, after, deeds)
}

/// Writes what is to be, and reads it again.
fn edited(
    file: &str,
    before: &Map<String, Value>,
    after: Map<String, Value>,
    deeds: Vec<Deed>,
) -> Result<Edited, Refusal> {
    let current = current_of(&after);
    if deeds.is_empty() {
        return Ok(Edited { text: file.to_owned(), deeds, current });
    }
    let text = if before.is_empty() && text::is_blank(file) {
        format!("{file}{}", text::fresh(&after))
    } else if serde_json::from_str::<Map<String, Value>>(file).is_ok() {
        format!("{:#}\n", Value::Object(after.clone()))
    } else {
        text::edit(file, before, &after).ok_or(Refusal::ByHand)?
    };
    let read_again = read(&text).map_err(|_| Refusal::ByHand)?;
    if meaning(read_again) != meaning(after) {
        return Err(Refusal::ByHand);
    }
    Ok(Edited { text, deeds, current })
}

/// An empty list, none, and a missing one are the same; so are an empty current context and none, and what a new file
/// is given besides.
fn meaning(mut file: Map<String, Value>) -> Map<String, Value> {
    for key in LISTS.iter().map(|list| list.name).chain([CURRENT]) {
        if file.get(key).is_some_and(|value| value.is_null() || value == "" || *value == json!([])) {
            file.shift_remove(key);
        }
    }
    for (key, value) in text::FRAME {
        if file.get(*key).is_some_and(|found| found == value) {
            file.shift_remove(*key);
        }
    }
    file
}

fn read(text: &str) -> Result<Map<String, Value>, Refusal> {
    let options = serde_saphyr::options! {
        with_snippet: false,
        // Kept comments are limited to 32 in a row, and a user's file may have more.
        emit_comments: false,
    };
    if text::is_blank(text) {
        return Ok(Map::new());
    }
    let value: Value = serde_saphyr::from_str_with_options(text, options)
        .map_err(|error| Refusal::NotYaml(error.to_string().lines().next().unwrap_or_default().to_owned()))?;
    let Value::Object(file) = value else {
        return Err(Refusal::NotKubeconfig("it is not a mapping".to_owned()));
    };
    if let Some(kind) = file.get("kind").filter(|kind| !kind.is_null() && *kind != "Config" && *kind != "") {
        return Err(Refusal::NotKubeconfig(format!("its kind is {kind}")));
    }
    for list in LISTS {
        entries(&file, list)?;
    }
    if file.get(CURRENT).is_some_and(|current| !current.is_null() && !current.is_string()) {
        return Err(Refusal::NotKubeconfig(format!("its {CURRENT} is no name")));
    }
    Ok(file)
}

/// Returns the entries of a list, which have names that differ.
fn entries(file: &Map<String, Value>, list: List) -> Result<Vec<Value>, Refusal> {
    let refused = |why: &str| Err(Refusal::NotKubeconfig(format!("its {} {why}", list.name)));
    let all = match file.get(list.name) {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Array(all)) => all,
        Some(_) => return refused("are not a list"),
    };
    let mut names = Vec::new();
    for entry in all {
        match entry.get("name").and_then(Value::as_str) {
            None => return refused("have an entry without a name"),
            Some(name) if names.contains(&name) => return refused(&format!("name {name:?} twice")),
            Some(name) => names.push(name),
        }
    }
    Ok(all.clone())
}

fn name_of(entry: &Value) -> String {
    entry.get("name").and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn current_of(file: &Map<String, Value>) -> Option<String> {
    file.get(CURRENT).and_then(Value::as_str).filter(|current| !current.is_empty()).map(str::to_owned)
}

/// Puts an entry in the place of the one of its name, or at the end; none if it is there already.
fn put(
    file: &mut Map<String, Value>,
    list: List,
    mut entry: Value,
    owner: &Owner,
) -> Result<Option<Deed>, Refusal> {
    let mut all = entries(file, list)?;
    let name = name_of(&entry);
    let found = all.iter_mut().find(|other| name_of(other) == name);
    // The user's own choice of a namespace goes on in our context.
    let chosen = found.as_ref().and_then(|other| other.get(list.content)?.get(NAMESPACE).cloned());
    if let Some(namespace) = chosen {
        entry[list.content][NAMESPACE] = namespace;
        entry.sort_all_objects();
    }
    let deed = match found {
        Some(other) if *other == entry => return Ok(None),
        Some(other) if !is_ours(other, list, owner) => {
            return Err(Refusal::Foreign { kind: list.content, name });
        }
        Some(other) => {
            *other = entry;
            Deed::Replaced(list.content, name)
        }
        None => {
            all.push(entry);
            Deed::Added(list.content, name)
        }
    };
    file.insert(list.name.to_owned(), Value::Array(all));
    Ok(Some(deed))
}

/// Returns an entry with our mark, its keys in the order in which kubectl writes them.
fn marked(mut entry: Value, list: List, owner: &Owner) -> Value {
    let mark = json!({
        "extension": { "home": owner.home, "lab": owner.lab },
        "name": EXTENSION,
    });
    entry[list.content]["extensions"] = json!([mark]);
    entry.sort_all_objects();
    entry
}

fn is_ours(entry: &Value, list: List, owner: &Owner) -> bool {
    let extensions = entry.get(list.content).and_then(|content| content.get("extensions"));
    extensions.and_then(Value::as_array).into_iter().flatten().any(|one| {
        one.get("name").is_some_and(|name| name == EXTENSION)
            && one.pointer("/extension/lab").is_some_and(|lab| *lab == owner.lab)
            && one.pointer("/extension/home").is_some_and(|home| *home == owner.home)
    })
}

#[cfg(test)]
mod tests;
