//! A file imports only downwards, and the thinking layers touch nothing but values.
//!
//! The arrows are read from the words of `src/lib.rs`, so that what a newcomer reads is what is checked.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use crate::support::rust_paths::{Named, paths, test_modules};

/// The layers whose results follow from their arguments alone.
const PURE: &[&str] = &["plan", "stack", "lab", "formats"];

/// What would let the world into a pure layer: I/O, processes, threads, the environment, a clock.
const WORLD: &[&str] = &[
    "tokio",
    "std::env",
    "std::fs",
    "std::net::TcpListener",
    "std::net::TcpStream",
    "std::net::UdpSocket",
    "std::os::unix::net",
    "std::process",
    "std::thread",
    "std::time::Instant",
    "std::time::SystemTime",
];

/// Layer → the layers it may name: itself and everything its arrows lead to.
type Arrows = BTreeMap<String, BTreeSet<String>>;

/// Reads the arrows from code spans such as `` `cli → engine → plan` `` in a crate's documentation.
fn arrows(documentation: &str) -> Arrows {
    let mut arrows = Arrows::new();
    for chain in documentation.split('`').filter(|span| span.contains('→')) {
        let groups: Vec<Vec<&str>> =
            chain.split('→').map(|group| group.split(',').map(str::trim).collect()).collect();
        for layer in groups.iter().flatten() {
            arrows.entry((*layer).to_owned()).or_default().insert((*layer).to_owned());
        }
        for pair in groups.windows(2) {
            for upper in &pair[0] {
                let lower = pair[1].iter().map(|layer| (*layer).to_owned());
                arrows.entry((*upper).to_owned()).or_default().extend(lower);
            }
        }
    }
    // What lies below what lies below is below, too.
    for _ in 0..arrows.len() {
        let direct = arrows.clone();
        for below in arrows.values_mut() {
            let further: Vec<_> =
                below.iter().filter_map(|layer| direct.get(layer)).flatten().cloned().collect();
            below.extend(further);
        }
    }
    arrows
}

/// One source file.
struct Source {
    path: PathBuf,
    /// Its place: `src/plan/step.rs` is `["plan", "step"]`.
    module: Vec<String>,
    text: String,
    /// Whether it is compiled for tests only.
    is_test: bool,
}

/// Returns what is wrong with one file, a line each.
fn violations(arrows: &Arrows, source: &Source) -> Vec<String> {
    let Some(layer) = source.module.first() else { return Vec::new() };
    let Some(below) = arrows.get(layer) else {
        return vec![format!("1: {layer} is no layer of src/lib.rs")];
    };
    let wrong = |named: &Named| -> Option<String> {
        let path = named.segments.join("::");
        let reason = match named.segments.get(1).map(String::as_str) {
            _ if named.segments[0] != "crate" => {
                let world = WORLD.iter().find(|world| reaches(&named.segments, world))?;
                (PURE.contains(&layer.as_str()) && !named.in_test && !source.is_test)
                    .then(|| format!("{layer} is pure, {world} is not"))?
            }
            None | Some("*") => "name a layer, not the whole crate".to_owned(),
            Some(target) if below.contains(target) => return None,
            Some(target) if arrows.contains_key(target) => {
                format!("{layer} stands below {target}, or beside it")
            }
            Some(target) => format!("{target} is no layer of src/lib.rs"),
        };
        Some(format!("{}: {path}: {reason}", named.line))
    };
    let module: Vec<&str> = source.module.iter().map(String::as_str).collect();
    paths(&source.text, &module).iter().filter_map(wrong).collect()
}

/// Says whether a path is, lies in, or globs over something.
fn reaches(path: &[String], thing: &str) -> bool {
    let thing: Vec<&str> = thing.split("::").collect();
    match path.split_last() {
        Some((last, parent)) if last == "*" => {
            thing.starts_with(&parent.iter().map(String::as_str).collect::<Vec<_>>())
        }
        _ => path.iter().map(String::as_str).take(thing.len()).eq(thing.iter().copied()),
    }
}

/// Returns every source file in a folder that is a module.
fn sources(folder: &Path, module: &[String]) -> Vec<Source> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a source folder can be read") {
        let path = entry.expect("a source folder can be read").path();
        let name = path.file_stem().expect("an entry has a name").to_string_lossy().into_owned();
        let mut module = module.to_vec();
        if !matches!(name.as_str(), "mod" | "lib" | "main") {
            module.push(name);
        }
        if path.is_dir() {
            found.extend(sources(&path, &module));
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            let text = fs::read_to_string(&path).expect("a source file can be read");
            found.push(Source { path, module, text, is_test: false });
        }
    }
    found
}

/// Returns every source file of the package, its test modules marked.
fn our_sources() -> Vec<Source> {
    let mut sources = sources(&source_folder(), &[]);
    let of_tests: Vec<Vec<String>> = sources
        .iter()
        .flat_map(|source| {
            test_modules(&source.text).into_iter().map(|name| [&source.module[..], &[name]].concat())
        })
        .collect();
    for source in &mut sources {
        source.is_test = of_tests.iter().any(|module| source.module.starts_with(module));
    }
    sources
}

fn source_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

fn our_arrows() -> Arrows {
    arrows(&fs::read_to_string(source_folder().join("lib.rs")).expect("src/lib.rs is here"))
}

#[test]
fn a_file_imports_only_downwards() {
    let arrows = our_arrows();
    let mut wrong = Vec::new();
    for source in our_sources() {
        let place = source
            .path
            .strip_prefix(env!("CARGO_MANIFEST_DIR"))
            .expect("sources lie in the package")
            .display();
        wrong.extend(violations(&arrows, &source).iter().map(|what| format!("{place}:{what}")));
    }
    assert!(wrong.is_empty(), "see the layers in src/lib.rs:\n{}", wrong.join("\n"));
}

#[test]
fn the_layers_have_a_top_and_a_bottom() {
    let arrows = our_arrows();
    let folders: BTreeSet<String> = sources(&source_folder(), &[])
        .into_iter()
        .filter_map(|source| source.module.first().cloned())
        .collect();
    assert_eq!(
        arrows.keys().cloned().collect::<BTreeSet<_>>(),
        folders,
        "src/lib.rs names the folders of src/"
    );
    for (upper, below) in &arrows {
        for lower in below.iter().filter(|lower| *lower != upper) {
            assert!(!arrows[lower].contains(upper), "{upper} and {lower} stand on each other");
        }
    }
    assert_eq!(arrows["formats"].len(), 1);
    assert!(
        !arrows["plan"].contains("host")
            && !arrows["sim"].contains("engine")
            && !arrows["host"].contains("lab")
    );
}

mod checker {
    use super::*;

    fn check(module: &[&str], source: &str) -> Vec<String> {
        let arrows = arrows(
            "`cli → engine → plan → lab → formats`, `engine → host → formats`, `sim → host, formats`.",
        );
        violations(&arrows, &file(module, source))
    }

    fn file(module: &[&str], text: &str) -> Source {
        let module = module.iter().map(|name| (*name).to_owned()).collect();
        Source { path: PathBuf::new(), module, text: text.to_owned(), is_test: false }
    }

    #[test]
    fn a_file_for_tests_may_touch_the_world_but_not_look_up() {
        let declared = "mod a; #[cfg(test)] mod b { mod c; } #[cfg(test)]\n#[expect(x)] mod d;";
        assert_eq!(test_modules(declared), ["c", "d"]);
        let arrows = arrows("`engine → lab`");
        let source = Source { is_test: true, ..file(&["lab", "tools"], "use std::fs; use crate::engine;") };
        assert_eq!(violations(&arrows, &source).len(), 1);
    }

    #[test]
    fn arrows_reach_through_and_only_down() {
        let arrows = arrows("as in `a → b → c, d` and `b → e`");
        let names = |layer: &str| arrows[layer].iter().map(String::as_str).collect::<Vec<_>>().join(" ");
        assert_eq!((names("a"), names("b"), names("d")), ("a b c d e".into(), "b c d e".into(), "d".into()));
    }

    #[test]
    fn an_upward_path_is_found_however_it_is_written() {
        for source in [
            "use crate::engine::run::Run;",
            "use crate::{formats::mac::Mac, engine::run};",
            "use crate::{lab::{Lab, paths::{self, Home}}, engine::{run::{Run as _}}};",
            "pub(crate) use crate::engine as doing;",
            "use super::super::engine::run;",
            "use super::{super::{engine}};",
            "fn f() -> crate::engine::Run { todo!() }",
            "fn f(x: &'static str) { let c = 'a'; <u8 as crate::engine::Run>::go::<'a'>(x) }",
            "fn f() { Vec::<crate::engine::Run>::new(); }",
            "mod inner { use super::super::super::engine::run; }",
            "mod inner { fn f() {} } fn f() { super::super::engine::run() }",
            "macro_rules! m { () => { $crate::engine::run() } }",
            "/* /* nested */ */ use crate::engine::run; // crate::engine",
            "const A: &str = r#\"\"#; const B: char = '\"'; use crate::engine::run;",
            "const A: &[u8] = br\"\\\"; use crate::r#engine::run;",
            "#[cfg(test)] mod tests { use crate::engine::run; }",
            "impl<'a> X<'a> { fn f() -> impl Sized + use<'a> { crate::engine::run() } }",
        ] {
            let wrong = check(&["plan", "step"], source);
            assert_eq!(wrong.len(), 1, "{source}\n{wrong:#?}");
            assert!(wrong[0].contains("plan stands below engine"), "{source}\n{wrong:#?}");
        }
    }

    #[test]
    fn a_sideways_path_is_found() {
        assert_eq!(check(&["host"], "use crate::lab::paths;").len(), 1);
        assert_eq!(check(&["sim", "world"], "use crate::plan::step;").len(), 1);
        assert_eq!(check(&["engine"], "use crate::sim::faults;").len(), 1);
    }

    #[test]
    fn the_whole_crate_and_what_is_no_layer_are_refused() {
        for source in ["use crate::*;", "use crate as root;", "use super::super::*;", "use crate::util::x;"] {
            assert_eq!(check(&["plan", "step"], source).len(), 1, "{source}");
        }
        assert_eq!(check(&["util"], "").len(), 1);
    }

    #[test]
    fn the_world_is_kept_out_of_pure_layers() {
        for source in [
            "use std::fs;",
            "use std::{fmt, fs::File};",
            "use std::time::{Duration, Instant};",
            "use std::time::*;",
            "fn f() { std::process::exit(1) }",
            "fn f() { ::std::env::var(\"HOME\"); }",
            "fn f() { time::SystemTime::now(); } use std::time;",
            "use std::time as t; fn f() { t::Instant::now(); }",
            "use std::net::{Ipv4Addr, TcpStream};",
            "async fn f() { tokio::join!(); }",
            "struct S { #[cfg(test)] a: u8, b: std::fs::File }",
            "#[cfg(test)] mod tests { mod inner {} } use std::fs;",
        ] {
            assert_eq!(check(&["lab", "spec"], source).len(), 1, "{source}");
            assert_eq!(check(&["host", "files"], source), Vec::<String>::new(), "{source}");
        }
    }

    #[test]
    fn what_is_allowed_passes() {
        for source in [
            "use crate::lab::{Lab, paths::Home}; use crate::formats::mac::Mac; use crate::plan::step;",
            "use std::time::Duration; use std::net::Ipv4Addr; use std::{fmt, path::{Path, PathBuf}};",
            "use super::step::Step; use super::super::lab::Lab; mod a { mod b { use super::super::step; } }",
            "//! See `crate::engine::run`, and std::fs.\n/// [`crate::engine`]\nfn f() {}",
            "const A: &str = \"crate::engine::run \\\" std::fs\"; const B: &str = r##\"\"# std::fs::read\"##;",
            "fn f<'a>(x: &'a str) { let _ = ('\\'', b'\"', '\"', b\"std::fs\"); }",
            "#[cfg(test)]\n#[expect(clippy::all, reason = \"[\")]\nmod tests { use std::fs; fn f() { std::process::id(); } }",
            "struct Command; impl Command { fn process() {} } fn f() { Command::process(); fs::x(); }",
            "pub(in crate::plan) fn f() {}",
        ] {
            assert_eq!(check(&["plan", "up"], source), Vec::<String>::new(), "{source}");
        }
    }

    #[test]
    fn lines_are_counted_through_strings_and_comments() {
        let wrong = check(&["plan"], "/*\n*/ const A: &str = \"\n\n\";\nuse crate::engine::run;");
        assert_eq!(wrong, ["5: crate::engine::run: plan stands below engine, or beside it"]);
    }
}
