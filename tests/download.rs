//! Images over the network, as whole sessions against a small web server: killed and gone on with, shared, by proxy and
//! mirror, from a signed list, offline.

use std::fs;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::support::session::{Ended, Running, Session};
use crate::support::web::{Page, Web};

const SIZE: usize = 2_000_000;

fn content() -> Vec<u8> {
    (0..SIZE)
        .map(|number| number.to_le_bytes()[0] ^ number.to_le_bytes()[1] ^ number.to_le_bytes()[2])
        .collect()
}

fn digest() -> String {
    hex::encode(Sha256::digest(content()))
}

/// A session with a lab file that names an image of its own.
fn session(url: &str) -> Session {
    let lab = format!("version: 1\nimage:\n  url: {url}\n  digest: {}\n", digest());
    Session::new().file("fusionlab.yaml", lab)
}

fn fetch(session: &Session) -> Session {
    session.clone().args(["image", "fetch"])
}

fn cache(session: &Session) -> PathBuf {
    session.fusionlab_home().join("cache/images")
}

/// Returns the names in the cache.
fn in_cache(session: &Session) -> Vec<String> {
    let Ok(entries) = fs::read_dir(cache(session)) else { return Vec::new() };
    let name = |entry: std::io::Result<fs::DirEntry>| entry.expect("it can be read").file_name();
    let mut names: Vec<_> = entries.map(|entry| name(entry).to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

fn part(session: &Session) -> PathBuf {
    cache(session).join(format!("sha256-{}.part", digest()))
}

fn length(path: &Path) -> usize {
    fs::metadata(path).map_or(0, |facts| usize::try_from(facts.len()).expect("a small file"))
}

#[track_caller]
fn is_whole(ended: &Ended) {
    let path = ended.stdout.lines().last().expect("it prints where the image is");
    assert!(fs::read(path).expect("the image is there") == content(), "{path}");
    assert_eq!(in_cache(&ended.session), [format!("sha256-{}.img", digest())], "and nothing else");
}

#[test]
fn a_download_that_was_killed_is_gone_on_with() {
    for arrived in [0, 1, 65_536, SIZE / 2, SIZE - 1] {
        let web = Web::start();
        let session = session(&web.url("/noble.img"));
        web.page("/noble.img", Page::of(content()).holds_after(arrived));
        let mut running = fetch(&session).start();
        running.wait_until(|| web.requests().len() == 1 && length(&part(&session)) == arrived);
        running.signal("KILL");
        assert_eq!(running.wait().status.code(), None);

        web.page("/noble.img", Page::of(content()));
        is_whole(&fetch(&session).run().exits(0));
        let expected = (arrived > 0).then(|| format!("bytes={arrived}-"));
        assert_eq!(web.ranges()[1], expected, "killed after {arrived} bytes");
        if arrived > 0 {
            assert_eq!(web.requests()[1].header("if-range"), Some("\"v1\""));
        }
    }
}

#[test]
fn a_download_that_was_killed_begins_anew_where_the_file_changed() {
    let web = Web::start();
    let session = session(&web.url("/noble.img"));
    web.page("/noble.img", Page::of("an older release of it").holds_after(10).tag(Some("\"v0\"")));
    let mut running = fetch(&session).start();
    running.wait_until(|| length(&part(&session)) == 10);
    running.signal("KILL");
    running.wait();
    web.page("/noble.img", Page::of(content()));
    is_whole(&fetch(&session).run().exits(0));
}

#[test]
fn a_stopped_download_says_so_and_is_gone_on_with() {
    let web = Web::start();
    let session = session(&web.url("/noble.img"));
    web.page("/noble.img", Page::of(content()).holds_after(1000));
    let mut running = fetch(&session).start();
    running.wait_until(|| length(&part(&session)) == 1000);
    running.signal("INT");
    running.wait().exits(130);
    web.page("/noble.img", Page::of(content()));
    is_whole(&fetch(&session).run().exits(0));
    assert_eq!(web.ranges()[1].as_deref(), Some("bytes=1000-"));
}

/// Starts a session whose words can be read while it runs, in a file of this name.
fn overheard(session: Session, name: &str) -> (Running, PathBuf) {
    let words = session.work().join(name);
    let shell = format!("exec \"$0\" \"$@\" 2>{name}");
    (session.under(["sh", "-c", &shell]).start(), words)
}

#[test]
fn two_runs_share_one_download() {
    let web = Web::start();
    let session = session(&web.url("/noble.img"));
    web.page("/noble.img", Page::of(content()).holds_after(SIZE / 2));
    let mut first = fetch(&session).start();
    first.wait_until(|| length(&part(&session)) == SIZE / 2);
    let (mut second, words) = overheard(fetch(&session), "second");
    let waits = format!("process {} downloads it", first.id());
    second.wait_until(|| fs::read_to_string(&words).is_ok_and(|words| words.contains(&waits)));
    web.page("/noble.img", Page::of(content()));
    is_whole(&first.wait().exits(0));
    is_whole(&second.wait().exits(0));
    assert_eq!(web.requests().len(), 1);
}

#[test]
fn whoever_waits_takes_over_from_one_that_is_killed() {
    let web = Web::start();
    let session = session(&web.url("/noble.img"));
    web.page("/noble.img", Page::of(content()).holds_after(SIZE / 2));
    let mut first = fetch(&session).start();
    first.wait_until(|| length(&part(&session)) == SIZE / 2);
    let (mut second, words) = overheard(fetch(&session), "second");
    second.wait_until(|| fs::read_to_string(&words).is_ok_and(|words| words.contains("downloads it")));
    web.page("/noble.img", Page::of(content()));
    first.signal("KILL");
    first.wait();
    is_whole(&second.wait().exits(0));
}

#[test]
fn what_was_fetched_needs_no_network() {
    let web = Web::start();
    let session = session(&web.url("/noble.img"));
    web.page("/noble.img", Page::of(content()));
    is_whole(&fetch(&session).run().exits(0));
    drop(web);
    let again = fetch(&session).args(["--output", "json"]).run().exits(0).json();
    assert_eq!((&again["downloaded"], &again["digest"]), (&false.into(), &digest().into()));
}

#[test]
fn a_wrong_file_is_refused_with_both_digests_and_kept_aside() {
    let web = Web::start();
    let session = session(&web.url("/noble.img"));
    web.page("/noble.img", Page::of("something else"));
    let refused = fetch(&session).run().exits(7);
    let found = hex::encode(Sha256::digest("something else"));
    let words = refused.stderr.split_whitespace().collect::<String>();
    assert!(words.contains(&digest()) && words.contains(&found), "{refused:?}");
    assert_eq!(in_cache(&session), [format!("sha256-{}.wrong", digest())]);
    web.page("/noble.img", Page::of(content()));
    let right = fetch(&session).run().exits(0);
    assert!(fs::read(right.stdout.trim()).expect("the image is there") == content());
}

#[test]
fn a_sign_in_page_is_told_from_an_image() {
    let web = Web::start();
    let session = session(&web.url("/noble.img"));
    web.page("/noble.img", Page::of("<html>Welcome to the hotel</html>").kind("text/html"));
    let refused = fetch(&session).run().exits(7);
    assert!(refused.stderr.contains("a web page"), "{refused:?}");
    assert_eq!(in_cache(&session), Vec::<String>::new());
}

#[test]
fn a_disk_that_is_too_small_is_seen_before_it_is_full() {
    let web = Web::start();
    let session = session(&web.url("/noble.img"));
    web.page("/noble.img", Page::of(content()).lies_about_length(1 << 60));
    let refused = fetch(&session).args(["--output", "json"]).run().exits(4);
    let error: serde_json::Value =
        serde_json::from_str(refused.stdout.lines().last().expect("an error")).expect("as JSON");
    assert_eq!(error["error"]["id"], "disk-full");
}

#[test]
fn progress_is_told_with_its_speed() {
    let web = Web::start();
    let session = session(&web.url("/noble.img"));
    web.page("/noble.img", Page::of(content()));
    let ended = fetch(&session).args(["--output", "json"]).run().exits(0);
    let lines: Vec<serde_json::Value> =
        ended.stdout.lines().map(|line| serde_json::from_str(line).expect("a line is an object")).collect();
    let progress: Vec<_> = lines.iter().filter(|line| line["event"] == "progress").collect();
    assert!(
        progress.iter().all(|line| line.get("rate").is_some() && line.get("left").is_some()),
        "{ended:?}"
    );
    let last = progress.last().expect("at least the end is told");
    assert_eq!((&last["done"], &last["total"]), (&SIZE.into(), &SIZE.into()));
    assert_eq!(lines.last().expect("a result")["schema"], "fusionlab.imagefetch/1");
}

#[test]
fn proxies_of_the_environment_are_used_and_their_exceptions_kept() {
    // A name that only the proxy knows.
    let (proxy, url) = (Web::start(), "http://images.example.test/noble.img");
    proxy.page(url, Page::of(content()));
    let by_proxy = session(url);
    is_whole(&fetch(&by_proxy).env("http_proxy", proxy.url("")).run().exits(0));
    assert_eq!(proxy.requests()[0].target, url);

    let web = Web::start();
    web.page("/noble.img", Page::of(content()));
    let direct = session(&web.url("/noble.img"));
    let asked = proxy.requests().len();
    is_whole(&fetch(&direct).env("http_proxy", proxy.url("")).env("NO_PROXY", "127.0.0.1").run().exits(0));
    assert_eq!(proxy.requests().len(), asked);

    // The catalogue's servers speak HTTPS, which a proxy passes through.
    let refused = Session::new().args(["image", "fetch"]).env("HTTPS_PROXY", proxy.url("")).run().exits(7);
    let request = proxy.requests().pop().expect("the proxy was asked");
    assert_eq!(
        (request.method.as_str(), request.target.as_str()),
        ("CONNECT", "cloud-images.ubuntu.com:443")
    );
    assert!(refused.stderr.contains("HTTPS_PROXY"), "{refused:?}");
}

#[test]
fn a_mirror_is_named_by_flag_by_environment_or_in_the_lab_file() {
    let [flag, environment, file] = [Web::start(), Web::start(), Web::start()];
    let session = || {
        Session::new()
            .file("fusionlab.yaml", format!("version: 1\nimage: {{mirror: '{}'}}\n", file.url("/ubuntu")))
    };
    let asked = |web: &Web| {
        let targets = web.requests().into_iter().map(|request| request.target);
        targets.filter(|target| target.starts_with("/ubuntu/releases/noble/release")).count()
    };
    fetch(&session()).run().exits(7);
    assert!(asked(&file) > 0);
    let before = asked(&file);
    fetch(&session()).env("FUSIONLAB_IMAGE_MIRROR", environment.url("/ubuntu/")).run().exits(7);
    assert!(asked(&environment) > 0 && asked(&file) == before);
    let before = (asked(&environment), asked(&file));
    fetch(&session())
        .env("FUSIONLAB_IMAGE_MIRROR", environment.url("/ubuntu/"))
        .args(["--image-mirror", &flag.url("/ubuntu/")])
        .run()
        .exits(7);
    assert!(asked(&flag) > 0 && (asked(&environment), asked(&file)) == before);
    Session::new().args(["image", "fetch", "--image-mirror", "mirror.lan"]).run().exits(2);
}

const UBUNTU_LIST: &[u8] = include_bytes!("data/ubuntu/SHA256SUMS");
const UBUNTU_SIGNATURE: &[u8] = include_bytes!("data/ubuntu/SHA256SUMS.gpg");

#[test]
fn where_the_pinned_image_is_gone_ubuntus_signed_list_says_what_is_newest() {
    let web = Web::start();
    let folder = "/releases/noble/release";
    let arch = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
    let name = format!("ubuntu-24.04-server-cloudimg-{arch}.img");
    web.page(&format!("{folder}/SHA256SUMS"), Page::of(UBUNTU_LIST));
    web.page(&format!("{folder}/SHA256SUMS.gpg"), Page::of(UBUNTU_SIGNATURE));
    web.page(&format!("{folder}/{name}"), Page::of("not what Ubuntu published"));
    let session = Session::new();
    let fetch = || fetch(&session).args(["--output", "json", "--image-mirror", &web.url("")]).run().exits(7);
    let error = |ended: Ended| -> serde_json::Value {
        let last = ended.stdout.lines().last().expect("an error").to_owned();
        serde_json::from_str::<serde_json::Value>(&last).expect("as JSON")["error"].clone()
    };

    // The list is believed, and so the image is not: it is not the one that Ubuntu signed for.
    let refused = error(fetch());
    let signed = String::from_utf8_lossy(UBUNTU_LIST);
    let line = signed.lines().find(|line| line.ends_with(&format!("*{name}"))).expect("the list has it");
    assert_eq!(refused["id"], "digest-mismatch");
    assert!(refused["why"].as_str().expect("a reason").contains(&line[..64]), "{refused:#}");

    // One letter of the list is another one.
    let forged = signed.replacen('a', "b", 1);
    web.page(&format!("{folder}/SHA256SUMS"), Page::of(forged));
    assert_eq!(error(fetch())["id"], "list-not-believed");
    web.page(&format!("{folder}/SHA256SUMS"), Page::of(UBUNTU_LIST));
    web.page(&format!("{folder}/SHA256SUMS.gpg"), Page::status("404 Not Found"));
    assert_eq!(error(fetch())["id"], "list-not-believed");
}

#[test]
fn a_mirrors_own_word_is_not_believed_where_nobody_signs() {
    let web = Web::start();
    web.page(
        "/trixie/latest/SHA512SUMS",
        Page::of(format!("{}  debian-13-generic-amd64.qcow2\n", "0".repeat(128))),
    );
    let (proxy, mirror) = (Web::start(), web.url("/"));
    let session = Session::new().env("HTTPS_PROXY", proxy.url("")).env("NO_PROXY", "127.0.0.1");
    session.args(["image", "fetch", "debian-13", "--image-mirror", &mirror]).run().exits(7);
    let request = proxy.requests().pop().expect("the distribution's own server was asked");
    assert_eq!((request.method.as_str(), request.target.as_str()), ("CONNECT", "cloud.debian.org:443"));
}

#[test]
fn a_path_begins_at_the_lab_file_or_at_home() {
    for (url, file) in [("./noble.img", "work/labs/noble.img"), ("~/noble.img", "home/noble.img")] {
        let lab = format!("version: 1\nimage: {{url: {url}, digest: {}}}\n", digest());
        let session = Session::new().file("labs/lab.yaml", lab);
        let root = session.work().parent().expect("the session's folder").to_owned();
        fs::write(root.join(file), content()).expect("the folder takes a file");
        is_whole(&fetch(&session).args(["--lab", "labs/lab.yaml"]).run().exits(0));
    }
    let missing = session("./nothing.img");
    let refused = fetch(&missing).run();
    assert!(refused.stderr.contains("work/nothing.img"), "{refused:?}");
    assert_ne!(refused.status.code(), Some(0));
}

#[test]
fn an_image_of_ones_own_is_used_on_the_simulated_fusion_too() {
    let session = Session::new();
    // The simulated Fusion brings the only image that its machines can boot; here it comes over the network.
    session.clone().arg("plan").run();
    let image = session.simulated_mac().join("var/cache/simulated-cloud-image.img");
    let image = fs::read(image).expect("the simulated Fusion has laid its image out");
    let web = Web::start();
    web.page("/own.img", Page::of(image.clone()));
    let digest = hex::encode(Sha256::digest(&image));
    let url = web.url("/own.img");
    let lab = format!("version: 1\npreset: solo\nimage: {{url: '{url}', digest: {digest}}}\n");
    let session = session.file("fusionlab.yaml", lab);
    session.clone().args(["up", "--yes"]).run().exits(0);
    assert_eq!(web.requests().len(), 1);
    assert_eq!(in_cache(&session), [format!("sha256-{digest}.img")]);
}
