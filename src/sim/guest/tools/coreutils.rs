//! Files by command: install, mv, cat, rm, mkdir, test, stat and their like.

use std::sync::Arc;

use crate::sim::guest::shell::{Call, USAGE};
use crate::sim::guest::state::File;
use crate::sim::guest::{Model, boot, usage};

pub async fn run(call: &mut Call<'_>, program: &str) -> i32 {
    match program {
        "true" | "sync" => 0,
        "false" => 1,
        "echo" => {
            call.say(call.args.join(" ")).await;
            0
        }
        "cat" => cat(call).await,
        "tail" => tail(call).await,
        "test" => test(call).await,
        "stat" => stat(call).await,
        "ls" => ls(call).await,
        "install" => install(call).await,
        "mv" => mv(call).await,
        "rm" => rm(call).await,
        "mkdir" => mkdir(call).await,
        "chmod" => chmod(call).await,
        "touch" => touch(call).await,
        other => call.fail(USAGE, format!("{other}: not part of the model guest")).await,
    }
}

/// Reads a file as the kernel would show it; none if there is none.
pub fn read(model: &Model, path: &str) -> Option<(u32, Vec<u8>)> {
    let generated = match path {
        "/proc/sys/kernel/random/boot_id" => Some(model.live(|live| live.boot_id.clone())),
        "/sys/class/dmi/id/product_uuid" => Some(boot::product_uuid(model)),
        "/proc/sys/net/ipv4/ip_forward" => Some(
            model.live(|live| live.sysctl.get("net.ipv4.ip_forward").cloned()).unwrap_or_else(|| "0".into()),
        ),
        "/proc/meminfo" => Some(usage::meminfo(model)),
        "/proc/loadavg" => Some(usage::loadavg(model)),
        "/run/systemd/resolve/resolv.conf" => Some(resolvers(model)),
        _ => None,
    };
    match generated {
        Some(text) => Some((
            if path.ends_with("product_uuid") { 0o400 } else { 0o444 },
            format!("{text}\n").into_bytes(),
        )),
        None => model.disk(|disk| disk.file(path).map(|file| (file.mode, file.content.to_vec()))),
    }
}

/// What systemd-resolved was told to ask, by all links.
fn resolvers(model: &Model) -> String {
    let servers =
        model.live(|live| live.interfaces.iter().flat_map(|one| one.dns.clone()).collect::<Vec<_>>());
    let lines: Vec<String> = servers.iter().map(|server| format!("nameserver {server}")).collect();
    if lines.is_empty() { "# No DNS servers known.".into() } else { lines.join("\n") }
}

async fn cat(call: &Call<'_>) -> i32 {
    let mut status = 0;
    for path in &call.args {
        match read(call.model, &call.place(path)) {
            None => status = call.fail(1, format!("cat: {path}: No such file or directory")).await,
            Some((mode, _)) if !call.root && mode & 0o004 == 0 => {
                status = call.fail(1, format!("cat: {path}: Permission denied")).await;
            }
            Some((_, content)) => call.print(content).await,
        }
    }
    status
}

/// Knows `tail -c +N FILE` alone: from the Nth byte on.
async fn tail(call: &Call<'_>) -> i32 {
    let ["-c", from, path] = call.words()[..] else {
        return call.fail(USAGE, "tail: the model guest knows -c +N FILE alone").await;
    };
    let Some(from) = from.strip_prefix('+').and_then(|from| from.parse::<usize>().ok()) else {
        return call.fail(1, format!("tail: invalid number of bytes: '{from}'")).await;
    };
    match read(call.model, &call.place(path)) {
        None => {
            let complaint = format!("tail: cannot open '{path}' for reading: No such file or directory");
            call.fail(1, complaint).await
        }
        Some((mode, _)) if !call.root && mode & 0o004 == 0 => {
            call.fail(1, format!("tail: cannot open '{path}' for reading: Permission denied")).await
        }
        Some((_, content)) => {
            call.print(content[content.len().min(from.saturating_sub(1))..].to_vec()).await;
            0
        }
    }
}

/// Lists names, one a line; all options are taken, and none does anything.
async fn ls(call: &Call<'_>) -> i32 {
    let mut status = 0;
    let named: Vec<&str> = call.words().into_iter().filter(|word| !word.starts_with('-')).collect();
    for path in if named.is_empty() { vec!["."] } else { named } {
        let place = call.place(path);
        if call.model.disk(|disk| disk.has_directory(&place)) {
            let names = call.model.disk(|disk| disk.names_in(&place));
            call.print(names.iter().map(|name| format!("{name}\n")).collect::<String>()).await;
        } else if read(call.model, &place).is_some() {
            call.say(path).await;
        } else {
            status = call.fail(2, format!("ls: cannot access '{path}': No such file or directory")).await;
        }
    }
    status
}

/// Knows `stat -L -c %a FILE` alone: its mode.
async fn stat(call: &Call<'_>) -> i32 {
    let ["-L", "-c", "%a", path] = call.words()[..] else {
        return call.fail(USAGE, "stat: the model guest knows -L -c %a FILE alone").await;
    };
    match read(call.model, &call.place(path)) {
        None => call.fail(1, format!("stat: cannot statx '{path}': No such file or directory")).await,
        Some((mode, _)) => {
            call.say(format!("{mode:o}")).await;
            0
        }
    }
}

async fn test(call: &Call<'_>) -> i32 {
    let [flag, path] = call.words()[..] else { return call.fail(USAGE, "test: too many arguments").await };
    let place = call.place(path);
    let (file, directory) = (read(call.model, &place), call.model.disk(|disk| disk.has_directory(&place)));
    let holds = match flag {
        "-e" => file.is_some() || directory,
        "-f" => file.is_some(),
        "-d" => directory,
        "-s" => file.is_some_and(|(_, content)| !content.is_empty()),
        "-x" => file.is_some_and(|(mode, _)| mode & 0o111 != 0),
        other => return call.fail(USAGE, format!("test: {other}: unary operator expected")).await,
    };
    i32::from(!holds)
}

async fn install(call: &mut Call<'_>) -> i32 {
    let (mut mode, mut owner, mut make, mut places) = (0o755, None, false, Vec::new());
    let mut words = call.args.iter();
    while let Some(word) = words.next() {
        let mut value = || words.next().cloned().unwrap_or_default();
        match word.as_str() {
            "-D" => make = true,
            "-d" => return call.fail(USAGE, "install: -d is not part of the model guest").await,
            "-o" => owner = Some(value()),
            "-g" => drop(value()),
            "-m" => match u32::from_str_radix(&value(), 8) {
                Ok(octal) => mode = octal,
                Err(_) => return call.fail(1, "install: invalid mode").await,
            },
            flag if flag.starts_with('-') => {
                return call.fail(1, format!("install: invalid option -- '{flag}'")).await;
            }
            place => places.push(place.to_owned()),
        }
    }
    let [from, to] = &places[..] else {
        return call.fail(1, "install: missing destination file operand").await;
    };
    let place = call.place(to);
    if !call.may_write(&place) || !call.root && owner.as_deref() == Some("root") {
        return call.fail(1, format!("install: cannot create regular file '{to}': Permission denied")).await;
    }
    let content = match from.as_str() {
        "/dev/stdin" => std::mem::take(&mut call.input),
        path => match read(call.model, &call.place(path)) {
            Some((_, content)) => content,
            None => {
                return call
                    .fail(1, format!("install: cannot stat '{path}': No such file or directory"))
                    .await;
            }
        },
    };
    if !make && !call.model.disk(|disk| disk.has_directory(parent(&place))) {
        return call
            .fail(1, format!("install: cannot create regular file '{to}': No such file or directory"))
            .await;
    }
    if call.model.around.fault("guest-disk-full") {
        return call.fail(1, format!("install: error writing '{to}': No space left on device")).await;
    }
    let file = File { mode, owner: owner.unwrap_or_else(|| "root".into()), content: Arc::new(content) };
    call.model.change_disk(|disk| disk.put_file(&place, file));
    0
}

async fn mv(call: &Call<'_>) -> i32 {
    let places: Vec<_> = call.words().into_iter().filter(|word| *word != "-f" && *word != "-T").collect();
    let [from, to] = places[..] else { return call.fail(1, "mv: missing destination file operand").await };
    let (source, target) = (call.place(from), call.place(to));
    if !call.may_write(&source) || !call.may_write(&target) {
        return call.fail(1, format!("mv: cannot move '{from}' to '{to}': Permission denied")).await;
    }
    let moved = call.model.change_disk(|disk| {
        if disk.file(&source).is_none() && disk.has_directory(&source) {
            disk.move_directory(&source, &target);
            return Ok(());
        }
        if disk.file(&source).is_none() {
            return Err(format!("mv: cannot stat '{from}': No such file or directory"));
        }
        if !disk.has_directory(parent(&target)) {
            return Err(format!("mv: cannot move '{from}' to '{to}': No such file or directory"));
        }
        let file = disk.take(&source).expect("it was just found");
        disk.put_file(&target, file);
        Ok(())
    });
    match moved {
        Ok(()) => 0,
        Err(why) => call.fail(1, why).await,
    }
}

async fn rm(call: &Call<'_>) -> i32 {
    let flags: String =
        call.args.iter().filter(|word| word.starts_with('-')).map(|word| &word[1..]).collect();
    if !flags.chars().all(|flag| "rRf".contains(flag)) {
        return call.fail(1, format!("rm: invalid option -- '{flags}'")).await;
    }
    let (force, deep) = (flags.contains('f'), flags.contains(['r', 'R']));
    let mut status = 0;
    for path in call.words().into_iter().filter(|word| !word.starts_with('-')) {
        let place = call.place(path);
        if !call.may_write(&place) {
            status = call.fail(1, format!("rm: cannot remove '{path}': Permission denied")).await;
            continue;
        }
        let plain = call.model.disk(|disk| disk.file(&place).is_some());
        let there = plain || call.model.disk(|disk| disk.has_directory(&place));
        if there && !plain && !deep {
            status = call.fail(1, format!("rm: cannot remove '{path}': Is a directory")).await;
        } else if !there && !force {
            status = call.fail(1, format!("rm: cannot remove '{path}': No such file or directory")).await;
        } else if there {
            call.model.change_disk(|disk| disk.remove(&place));
        }
    }
    status
}

async fn mkdir(call: &Call<'_>) -> i32 {
    let deep = call.args.iter().any(|word| word == "-p");
    for path in call.words().into_iter().filter(|word| !word.starts_with('-')) {
        let place = call.place(path);
        let (known, nested) =
            call.model.disk(|disk| (disk.has_directory(&place), disk.has_directory(parent(&place))));
        if !call.may_write(&place) {
            return call.fail(1, format!("mkdir: cannot create directory '{path}': Permission denied")).await;
        }
        if !deep && known {
            return call.fail(1, format!("mkdir: cannot create directory '{path}': File exists")).await;
        }
        if !deep && !nested {
            return call
                .fail(1, format!("mkdir: cannot create directory '{path}': No such file or directory"))
                .await;
        }
        call.model.change_disk(|disk| disk.make_directory(&place));
    }
    0
}

async fn chmod(call: &Call<'_>) -> i32 {
    let [mode, paths @ ..] = &call.words()[..] else { return call.fail(1, "chmod: missing operand").await };
    let Ok(mode) = u32::from_str_radix(mode, 8) else { return call.fail(1, "chmod: invalid mode").await };
    for path in paths {
        if !call.root || !call.model.change_disk(|disk| disk.set_mode(path, mode)) {
            return call.fail(1, format!("chmod: cannot access '{path}': No such file or directory")).await;
        }
    }
    0
}

async fn touch(call: &Call<'_>) -> i32 {
    for path in &call.args {
        let place = call.place(path);
        if !call.may_write(&place) {
            return call.fail(1, format!("touch: cannot touch '{path}': Permission denied")).await;
        }
        call.model.change_disk(|disk| {
            if disk.file(&place).is_none() {
                disk.put(&place, 0o644, "");
            }
        });
    }
    0
}

fn parent(path: &str) -> &str {
    path.trim_end_matches('/').rsplit_once('/').map_or("", |(parent, _)| parent)
}
