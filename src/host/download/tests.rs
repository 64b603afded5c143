use std::time::UNIX_EPOCH;

use super::*;

#[path = "../../../tests/support/web.rs"]
#[expect(
    dead_code,
    clippy::disallowed_methods,
    reason = "a server of the tests, and whole sessions use the rest of it"
)]
mod web;

use web::{Page, Web};

const STALL: Duration = Duration::from_secs(5);
const SIZE: usize = 300_000;
const BYTES: u64 = SIZE as u64;

/// A list with the digest of [`content`], signed by a key that was made for it.
const LIST: &[u8] = include_bytes!("../../../tests/data/signed/SHA256SUMS");
const LIST_SIGNATURE: &[u8] = include_bytes!("../../../tests/data/signed/SHA256SUMS.gpg");
const KEYRING: &[u8] = include_bytes!("../../../tests/data/signed/keyring.gpg");
const KEY: &str = "AFB42228893BC86B9A128810FF756C12A427EC5E";

fn content() -> Vec<u8> {
    (0..SIZE).map(|number| number.to_le_bytes()[0] ^ number.to_le_bytes()[1]).collect()
}

fn sha256(bytes: &[u8]) -> Digest {
    use sha2::Digest as _;
    Digest::Sha256(hex::encode(sha2::Sha256::digest(bytes)))
}

/// A cache of its own, a server, and what was told.
struct World {
    folder: tempfile::TempDir,
    cache: Cache,
    web: Web,
    told: Vec<Told>,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache { images: folder.path().join("images"), locks: folder.path().join("locks") };
        Self { folder, cache, web: Web::start(), told: Vec::new() }
    }

    fn with(page: Page) -> Self {
        let world = Self::new();
        world.web.page("/noble.img", page);
        world
    }

    /// The image as the catalogue pins it.
    fn source(&self) -> Source {
        Source {
            url: self.web.url("/noble.img"),
            digest: Some(sha256(&content())),
            size: Some(BYTES),
            newest: None,
        }
    }

    /// The image with what takes its place.
    fn moving(&self) -> Source {
        let newest = Newest {
            name: "noble-amd64".to_owned(),
            url: self.web.url("/newest.img"),
            list: self.web.url("/SHA256SUMS"),
            signature: Some(Signature {
                url: self.web.url("/SHA256SUMS.gpg"),
                key: KEY.to_owned(),
                keyring: KEYRING,
            }),
        };
        // An older release than the newest.
        Source { digest: Some(sha256(b"older")), size: None, newest: Some(newest), ..self.source() }
    }

    fn publish_newest(&self) {
        self.web.page("/newest.img", Page::of(content()));
        self.web.page("/SHA256SUMS", Page::of(LIST)).page("/SHA256SUMS.gpg", Page::of(LIST_SIGNATURE));
    }

    async fn fetch(&mut self, source: &Source) -> Result<Fetched> {
        let told = &mut self.told;
        fetch(source, &self.cache, STALL, &mut |it| told.push(it)).await
    }

    async fn refused(&mut self, source: &Source) -> String {
        self.fetch(source).await.unwrap_err().to_string()
    }

    /// Leaves what a run would that was killed after so many bytes.
    fn leave_part(&self, bytes: &[u8], mark: &str) {
        self.cache.create().unwrap();
        let digest = sha256(&content());
        files::write_atomic(&self.cache.part(&digest), bytes, 0o644).unwrap();
        files::write_atomic(&self.cache.mark(&digest), mark.as_bytes(), 0o644).unwrap();
    }

    /// Returns the names in the cache.
    fn files(&self) -> Vec<String> {
        let name = |path: &PathBuf| path.file_name().unwrap().to_string_lossy().into_owned();
        files::list(&self.cache.images).unwrap().iter().map(name).collect()
    }

    fn ranges(&self) -> Vec<Option<String>> {
        self.web.ranges()
    }
}

fn range(from: usize) -> Option<String> {
    Some(format!("bytes={from}-"))
}

#[tokio::test]
async fn a_file_is_downloaded_once_and_verified() {
    let mut world = World::with(Page::of(content()));
    let source = world.source();
    assert_eq!(cached(&source, &world.cache), None);
    let found = world.fetch(&source).await.unwrap();
    assert_eq!(world.told.last(), Some(&Told::Bytes { done: BYTES, total: Some(BYTES) }));
    assert!(files::read(&found.path).unwrap() == content());
    assert_eq!(cached(&source, &world.cache), Some(found.clone()));
    assert_eq!(world.fetch(&source).await.unwrap(), found);
    assert_eq!(world.ranges().len(), 1);
    assert_eq!(world.files(), [format!("sha256-{}.img", sha256(&content()).hex())]);
}

#[tokio::test]
async fn a_dropped_connection_is_picked_up_where_it_broke() {
    for page in [Page::of(content()), Page::of(content()).without_length()] {
        let mut world = World::with(page.breaks_after(120_000));
        let source = world.source();
        let found = world.fetch(&source).await.unwrap();
        assert!(files::read(&found.path).unwrap() == content());
        assert_eq!(world.ranges(), [None, range(120_000), range(240_000)]);
    }
}

#[tokio::test]
async fn a_server_without_ranges_begins_from_the_beginning() {
    let mut world = World::with(Page::of(content()).without_ranges());
    world.web.page("/noble.img", Page::of(content()).without_ranges().breaks_after(1000).times(2));
    let source = world.source();
    let found = world.fetch(&source).await.unwrap();
    assert!(files::read(&found.path).unwrap() == content());
    assert_eq!(world.ranges(), [None, range(1000), range(1000)]);
}

#[tokio::test]
async fn an_earlier_runs_part_is_continued_if_the_server_has_the_same_version() {
    for tag in ["\"v1\"", "\"v0\""] {
        let mut world = World::with(Page::of(content()));
        let source = world.source();
        world.leave_part(&content()[..1000], &format!("{}\n{tag}", source.url));
        let found = world.fetch(&source).await.unwrap();
        assert!(files::read(&found.path).unwrap() == content());
        assert_eq!(world.ranges(), [range(1000)]);
        assert_eq!(world.web.requests()[0].header("if-range"), Some(tag));
        assert_eq!(world.files().len(), 1);
    }
}

#[tokio::test]
async fn another_server_goes_on_with_what_the_first_one_began() {
    let mut world = World::with(Page::of(content()).tag(Some("\"other\"")));
    world.leave_part(&content()[..1000], "http://first.example.org/noble.img\n\"v1\"");
    let source = world.source();
    world.fetch(&source).await.unwrap();
    assert_eq!(world.ranges(), [range(1000)]);
    assert_eq!(world.web.requests()[0].header("if-range"), None);
}

#[tokio::test]
async fn a_part_that_does_not_fit_is_thrown_away_before_anybody_is_blamed() {
    let mut world = World::with(Page::of(content()));
    world.leave_part(b"not the beginning of it", "");
    let source = world.source();
    let found = world.fetch(&source).await.unwrap();
    assert!(files::read(&found.path).unwrap() == content());
    assert_eq!(world.ranges(), [range(23), None]);
    assert!(world.told.iter().any(|told| matches!(told, Told::Note(_))));
}

#[tokio::test]
async fn a_part_that_is_whole_or_too_long_is_known_as_such() {
    let source = |world: &World| Source { size: None, ..world.source() };
    let mut world = World::with(Page::of(content()));
    world.leave_part(&content(), "");
    world.fetch(&source(&world)).await.unwrap();
    assert_eq!(world.ranges(), [range(SIZE)], "the server says that there is no more");

    let mut world = World::with(Page::of(content()));
    world.leave_part(&[content(), content()].concat(), "");
    world.fetch(&source(&world)).await.unwrap();
    assert_eq!(world.ranges(), [range(2 * SIZE), None]);

    let mut world = World::with(Page::of(content()));
    world.leave_part(&content(), "");
    world.fetch(&world.source()).await.unwrap();
    assert_eq!(world.ranges(), [], "nobody need be asked");
}

#[tokio::test]
async fn a_server_that_sends_another_part_is_asked_for_all_of_it() {
    let mut world = World::with(Page::of(content()).sends_other_parts());
    world.leave_part(&content()[..1000], "");
    let source = world.source();
    let found = world.fetch(&source).await.unwrap();
    assert!(files::read(&found.path).unwrap() == content());
    assert_eq!(world.ranges(), [range(1000), None]);
}

#[tokio::test]
async fn a_wrong_file_is_kept_aside_and_never_used() {
    let mut world = World::with(Page::of(content()));
    for wanted in [&b"one"[..], b"two"] {
        let source = Source { digest: Some(sha256(wanted)), ..world.source() };
        let Err(HostError::Digest { expected, found, kept, .. }) = world.fetch(&source).await else {
            panic!("a wrong digest must be refused");
        };
        assert_eq!((expected.as_str(), found.as_str()), (sha256(wanted).hex(), sha256(&content()).hex()));
        assert!(files::read(&kept).unwrap() == content());
        assert_eq!(cached(&source, &world.cache), None);
        assert_eq!(world.files(), [format!("sha256-{expected}.wrong")], "only the latest is kept");
    }
}

#[tokio::test]
async fn a_pinned_file_that_is_gone_gives_way_to_the_signed_newest() {
    for gone in ["404 Not Found", "410 Gone"] {
        let mut world = World::with(Page::status(gone));
        world.publish_newest();
        let source = world.moving();
        let found = world.fetch(&source).await.unwrap();
        assert!(found.is_newest && files::read(&found.path).unwrap() == content());
        assert!(
            world.told.iter().any(|told| matches!(told, Told::Note(note) if note.contains("newest.img")))
        );
        let asked = world.ranges().len();
        // The digest is remembered, so that no server is needed any more.
        assert_eq!(cached(&source, &world.cache), Some(found.clone()));
        assert_eq!(world.fetch(&source).await.unwrap(), found);
        assert_eq!(world.ranges().len(), asked);
        // A later catalogue that pins another file means that one.
        let later = Source { digest: Some(sha256(b"later")), ..source };
        assert_eq!(cached(&later, &world.cache), None);
    }
}

#[tokio::test]
async fn a_list_that_nobody_vouches_for_is_refused() {
    let mut world = World::new();
    world.publish_newest();
    let source = world.moving();
    world.web.page("/SHA256SUMS", Page::of([LIST, b"\n"].concat()));
    assert!(world.refused(&source).await.contains("the text is not the one that was signed"));
    world.web.page("/SHA256SUMS", Page::of(LIST)).page("/SHA256SUMS.gpg", Page::status("404 Not Found"));
    assert!(world.refused(&source).await.contains("it has no signature"));
    let newest = source.newest.clone().map(|newest| Newest { signature: None, ..newest });
    let unsigned = Source { newest, ..source.clone() };
    assert!(matches!(world.fetch(&unsigned).await, Err(HostError::Unsigned { .. })));
    let missing = [LIST.to_vec(), b"0  x".to_vec()].concat();
    world.web.page("/SHA256SUMS", Page::of(missing));
    assert!(matches!(world.fetch(&source).await, Err(HostError::Unsigned { .. })));
    assert_eq!(world.files(), Vec::<String>::new(), "nothing of it is used");
}

#[tokio::test]
async fn what_is_gone_without_a_successor_is_an_error() {
    let mut world = World::new();
    let source = world.source();
    assert!(world.refused(&source).await.ends_with("the server answers 404 Not Found"));
    let nothing_known = Source { digest: None, ..source };
    assert!(world.refused(&nothing_known).await.contains("nothing says what the file must be"));
}

#[tokio::test]
async fn two_runs_share_one_download() {
    let world = World::with(Page::of(content()));
    let source = world.source();
    let (mut first, mut second) = (|_| (), |_| ());
    let (one, two) = tokio::join!(
        fetch(&source, &world.cache, STALL, &mut first),
        fetch(&source, &world.cache, STALL, &mut second)
    );
    assert_eq!(one.unwrap(), two.unwrap());
    assert_eq!(world.ranges().len(), 1);
}

#[tokio::test]
async fn a_local_file_is_copied_and_verified_too() {
    let mut world = World::new();
    let image = world.folder.path().join("my image.qcow2");
    files::write_atomic(&image, &content(), 0o644).unwrap();
    let url = format!("file://{}", image.display());
    let source = Source { url, ..world.source() };
    let found = world.fetch(&source).await.unwrap();
    assert!(files::read(&found.path).unwrap() == content());
    let wrong = Source { digest: Some(sha256(b"")), ..source };
    assert!(matches!(world.fetch(&wrong).await, Err(HostError::Digest { .. })));
    assert!(files::exists(&image));
}

#[tokio::test]
async fn answers_that_cannot_be_the_image_are_refused_before_they_are_read() {
    let page = Page::of("<html>Welcome to the hotel</html>").kind("text/html; charset=utf-8");
    let mut world = World::with(page);
    let source = world.source();
    assert!(world.refused(&source).await.contains("a web page"));

    let mut world = World::with(Page::of(&content()[1..]));
    let source = world.source();
    assert!(world.refused(&source).await.contains("299999 bytes long, where 300000 are right"));

    // An exbibyte fits nowhere.
    let mut world = World::with(Page::of(content()).lies_about_length(1 << 60));
    let source = Source { size: None, ..world.source() };
    assert!(matches!(world.fetch(&source).await, Err(HostError::NoRoom { .. })));
    assert_eq!(world.files(), Vec::<String>::new());
}

#[tokio::test]
async fn a_server_that_sends_more_than_the_file_has_is_stopped() {
    let mut world = World::with(Page::of([content(), content()].concat()).without_length());
    let source = world.source();
    assert!(world.refused(&source).await.contains("more than it said"));
}

#[tokio::test]
async fn a_busy_server_is_asked_again_and_a_stern_one_is_not() {
    let mut world = World::with(Page::of(content()));
    let busy = Page::status("503 Service Unavailable").header("Retry-After", "0");
    world.web.page("/noble.img", busy.times(1));
    let source = world.source();
    world.fetch(&source).await.unwrap();
    assert_eq!(world.ranges().len(), 2);
    assert!(world.told.iter().any(|told| matches!(told, Told::Waiting { seen, .. } if seen.contains("503"))));

    let mut world = World::with(Page::status("403 Forbidden"));
    let source = world.source();
    assert!(world.refused(&source).await.ends_with("the server answers 403 Forbidden"));
    assert_eq!(world.ranges().len(), 1);
}

#[tokio::test]
async fn a_file_that_moved_is_found() {
    let mut world = World::new();
    world.web.page("/noble.img", Page::moved("/mirror/noble.img"));
    world.web.page("/mirror/noble.img", Page::of(content()).breaks_after(200_000));
    let source = world.source();
    world.fetch(&source).await.unwrap();
    assert_eq!(world.ranges(), [None, None, range(200_000), range(200_000)]);

    world.web.page("/round.img", Page::moved("/round.img"));
    let round = Source { url: world.web.url("/round.img"), digest: Some(sha256(b"x")), ..source };
    assert!(world.refused(&round).await.contains("redirect"));
}

#[tokio::test]
async fn downloads_that_were_abandoned_are_collected() {
    let mut world = World::with(Page::of(content()));
    world.cache.create().unwrap();
    let old = UNIX_EPOCH + Duration::from_secs(clock::now()) - Duration::from_secs(40 * 24 * 3600);
    let (abandoned, recent) = (sha256(b"abandoned"), sha256(b"recent"));
    for digest in [&abandoned, &recent] {
        files::write_atomic(&world.cache.part(digest), b"12345", 0o644).unwrap();
    }
    let half = world.cache.images.join(format!("{}x", files::TEMPORARY));
    files::write_atomic(&half, b"", 0o644).unwrap();
    for path in [&half, &world.cache.part(&abandoned)] {
        std::fs::File::options().write(true).open(path).unwrap().set_modified(old).unwrap();
    }
    let left = world.cache.leftovers().unwrap();
    assert_eq!((left.len(), left[0].bytes), (2, 5));
    // One that a run works on is no leftover.
    let held = lock::acquire(&world.cache.lock(&recent), "the download", "download").unwrap();
    assert_eq!(world.cache.leftovers().unwrap().len(), 1);
    drop(held);
    let source = world.source();
    world.fetch(&source).await.unwrap();
    assert!(!files::exists(&world.cache.part(&abandoned)) && files::exists(&world.cache.part(&recent)));
    assert!(!files::exists(&half));
}

#[test]
fn a_digest_is_known_by_its_length() {
    assert!(matches!(Digest::from_hex(&"A".repeat(64)), Some(Digest::Sha256(hex)) if hex == "a".repeat(64)));
    assert!(matches!(Digest::from_hex(&"1".repeat(128)), Some(Digest::Sha512(_))));
    for text in ["", "abc", &"g".repeat(64)] {
        assert_eq!(Digest::from_hex(text), None);
    }
}
