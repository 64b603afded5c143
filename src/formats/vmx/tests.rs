//! What the format promises: bytes stay, values come and go whole, and everything wrong is told at once.

use proptest::prelude::*;

use super::*;

const SAMPLE: &str = ".encoding = \"UTF-8\"\r\n# made by hand\r\nDisplayName = \"a |22b|22\"\r\n\
                      nvme0:0.virtualSSD = 1\r\n\r\n\tmemsize=\"4096\"   # MiB";

fn problems(bytes: impl AsRef<[u8]>) -> Vec<(usize, usize, String)> {
    let problems = Vmx::parse(bytes).unwrap_err().problems.into_iter();
    problems.map(|problem| (problem.line, problem.column, problem.reason)).collect()
}

fn text(vmx: &Vmx) -> String {
    String::from_utf8(vmx.render()).unwrap()
}

#[test]
fn keys_are_found_in_any_case_and_edited_in_their_place() {
    let mut vmx = Vmx::parse(SAMPLE).unwrap();
    assert_eq!(vmx.get("displayname").as_deref(), Some("a \"b\""));
    assert_eq!(vmx.get("nvme0:0.virtualssd").as_deref(), Some("1"));
    assert_eq!(vmx.get("MEMSIZE").as_deref(), Some("4096"));
    vmx.set("displayName", "c");
    vmx.set("memSize", "8192");
    vmx.set("guestOS", "arm-ubuntu-64");
    let expected = SAMPLE.replace("a |22b|22", "c").replace("4096", "8192");
    assert_eq!(text(&vmx), expected + "\r\nguestOS = \"arm-ubuntu-64\"\r\n");
    assert_eq!(
        vmx.keys().collect::<Vec<_>>(),
        [".encoding", "DisplayName", "nvme0:0.virtualSSD", "memsize", "guestOS"]
    );
}

#[test]
fn removing_a_key_leaves_the_others_findable() {
    let mut vmx = Vmx::parse(SAMPLE).unwrap();
    assert!(vmx.remove("displayName"));
    assert!(!vmx.remove("displayName"));
    assert_eq!(vmx.get("memsize").as_deref(), Some("4096"));
    assert_eq!(text(&vmx), SAMPLE.replace("DisplayName = \"a |22b|22\"\r\n", ""));
}

#[test]
fn setting_what_is_there_changes_nothing() {
    let mut vmx = Vmx::parse(SAMPLE).unwrap();
    vmx.set("memsize", "4096");
    vmx.set("nvme0:0.virtualSSD", "1");
    vmx.set(".encoding", "utf-8");
    assert_eq!(text(&vmx), SAMPLE.replace("UTF-8", "utf-8"));
}

#[test]
fn a_new_file_says_that_it_is_utf8() {
    assert_eq!(text(&Vmx::new()), ".encoding = \"UTF-8\"\n");
}

#[test]
fn values_without_quotes_and_comments_behind_values_are_read_as_vmware_reads_them() {
    let mut vmx = Vmx::parse("a = 1 # one\nb = # nothing\nc = \"#x\" # y\nd = two words\n").unwrap();
    let values = ["a", "b", "c", "d"].map(|key| vmx.get(key).unwrap());
    assert_eq!(values, ["1", "", "#x", "two words"]);
    vmx.set("a", "2");
    vmx.set("b", "#");
    assert_eq!(text(&vmx), "a = \"2\" # one\nb = \"#\"# nothing\nc = \"#x\" # y\nd = two words\n");
}

#[test]
fn a_file_in_a_windows_code_page_keeps_its_bytes() {
    let file = b".encoding = \"windows-1252\"\r\ndisplayName = \"M\xfcller \x80\"\r\n# caf\xe9\r\n";
    let mut vmx = Vmx::parse(file).unwrap();
    assert_eq!(vmx.get("displayName").as_deref(), Some("Müller €"));
    assert_eq!(vmx.render(), file);
    assert!(vmx.to_text().contains("# café"));
    vmx.set("annotation", "größer");
    assert_eq!(vmx.render(), [&file[..], b"annotation = \"gr\xf6\xdfer\"\r\n"].concat());

    let before = vmx.clone();
    let refused = vmx.try_set("annotation", "a 漢字").unwrap_err();
    assert_eq!(refused.to_string(), "'漢' cannot be written in windows-1252, the file's encoding");
    assert!(vmx.try_set(".encoding", "UTF-8").is_err(), "the other lines would mean something else");
    assert!(vmx.try_set("a key", "1").is_err());
    assert_eq!(vmx, before, "nothing was changed");
}

#[test]
fn a_pipe_inside_a_character_is_no_escape() {
    // In Shift_JIS, 0x83 0x7C is one character: ポ. The 7C is not a pipe.
    let file = b".encoding = \"Shift_JIS\"\nname = \"\x83\x7c22\"\n";
    let mut vmx = Vmx::parse(file).unwrap();
    assert_eq!(vmx.get("name").as_deref(), Some("ポ22"));
    vmx.set("other", "ポ|");
    assert_eq!(vmx.render(), [&file[..], b"other = \"\x83\x7c|7C\"\n"].concat());
    assert_eq!(vmx.get("other").as_deref(), Some("ポ|"));
}

#[test]
fn escaped_bytes_are_text_in_the_files_encoding() {
    let vmx = Vmx::parse("a = \"caf|C3|A9|\"\nb = \"|FF|22|zz|4\"\n").unwrap();
    assert_eq!(vmx.get("a").as_deref(), Some("café|"));
    assert_eq!(vmx.get("b").as_deref(), Some("|FF|22|zz|4"), "what means nothing stands for itself");
    let vmx = Vmx::parse(".encoding = \"windows-1252\"\na = \"caf|E9\"\n").unwrap();
    assert_eq!(vmx.get("a").as_deref(), Some("café"));
}

#[test]
fn text_that_cannot_be_decoded_is_refused_and_never_replaced() {
    assert_eq!(
        problems(b".encoding = \"UTF-8\"\nname = \"M\xfcller\"\n"),
        [(2, 10, "the byte 0xfc means nothing in UTF-8, the file's encoding".to_owned())]
    );
    assert_eq!(
        problems(b"name = \"M\xfcller\"\n"),
        [(1, 10, "the byte 0xfc is not UTF-8, and no .encoding says what it is".to_owned())]
    );
    assert_eq!(problems(".encoding = \"cp-1\"\n"), [(1, 14, "the encoding cp-1 is not known".to_owned())]);
    assert!(problems("\u{feff}.encoding = \"GBK\"\n")[0].2.contains("UTF-8's mark"));
    assert!(problems(b"\xff\xfea\0")[0].2.contains("UTF-16"));
    Vmx::parse(b"# caf\xe9\na = \"1\"\n").expect("a comment may be anything");
}

#[test]
fn a_mark_before_utf8_stays() {
    let mut vmx = Vmx::parse("\u{feff}.encoding = \"UTF-8\"\na = \"1\"").unwrap();
    assert_eq!(vmx.get(".encoding").as_deref(), Some("UTF-8"));
    vmx.set("a", "2");
    assert_eq!(text(&vmx), "\u{feff}.encoding = \"UTF-8\"\na = \"2\"");
}

#[test]
fn everything_that_is_wrong_is_told_at_once() {
    let found = problems(
        "a = \"1\"\nB = \"2\"\nnonsense\n A = \"3\"\nc = \"4\nd = \"5\" e\nf = 1\"2\"\n= 1\ng h = 1\n",
    );
    let places: Vec<(usize, usize)> = found.iter().map(|(line, column, _)| (*line, *column)).collect();
    assert_eq!(places, [(3, 1), (4, 2), (5, 5), (6, 9), (7, 6), (8, 1), (9, 1)]);
    assert_eq!(found[1].2, "A is set in line 1 already");
    let error = Vmx::parse("x\ny\n").unwrap_err().to_string();
    assert_eq!(
        error,
        "line 1, column 1: expected key = \"value\"; line 2, column 1: expected key = \"value\""
    );
    assert_eq!(problems("binary\n".repeat(100_000)).len(), MOST_PROBLEMS);
}

#[test]
fn very_long_lines_are_lines() {
    let long = "x".repeat(4 << 20);
    let mut vmx = Vmx::parse(format!("guestinfo.userdata = \"{long}\"\n{long}\n")).unwrap_err();
    assert!(vmx.problems.pop().unwrap().reason.len() < 100, "a message does not quote all of it");
    let vmx = Vmx::parse(format!("guestinfo.userdata = \"{long}\"\n")).unwrap();
    assert_eq!(vmx.get("guestinfo.userdata").map(|value| value.len()), Some(long.len()));
}

/// Any text of a file: assignments, comments and nonsense in either line ending.
const FILE: &str = "([a-c.:]{1,3} ?= ?(\"[^\"\r\n]{0,6}\"|[0-9]{0,3})( #x)?|#\\PC{0,5}| ?)\
                    (\r?\n([d-f]{1,3} = \"[^\"\r\n]{0,6}\")){0,2}\n?";

proptest! {
    #[test]
    fn rendering_gives_back_what_was_read(file in FILE) {
        if let Ok(vmx) = Vmx::parse(&file) {
            prop_assert_eq!(vmx.render(), file.as_bytes());
        }
    }

    #[test]
    fn any_value_can_be_kept(values in proptest::collection::vec("(\\PC|[\"|\0-\x1f\x7f]){0,12}", 1..5)) {
        let mut vmx = Vmx::new();
        for (number, value) in values.iter().enumerate() {
            vmx.set(&format!("key{number}"), value);
        }
        let read = Vmx::parse(vmx.render()).unwrap();
        for (number, value) in values.iter().enumerate() {
            prop_assert_eq!(read.get(&format!("KEY{number}")), Some(value.clone()));
        }
        prop_assert_eq!(read, vmx);
    }

    #[test]
    fn setting_one_key_leaves_the_other_lines(file in FILE, key in "[a-f]{1,2}", value in "\\PC{0,6}") {
        if let Ok(mut vmx) = Vmx::parse(&file) {
            let others = |vmx: &Vmx| -> Vec<Vec<u8>> {
                let own = |line: &Line<Vec<u8>>| line.text.to_ascii_lowercase().starts_with(key.as_bytes());
                vmx.lines.iter().filter(|line| !own(line)).map(|line| line.text.clone()).collect()
            };
            let before = others(&vmx);
            vmx.set(&key, &value);
            prop_assert_eq!(vmx.get(&key), Some(value));
            prop_assert_eq!(others(&vmx), before);
            prop_assert_eq!(Vmx::parse(vmx.render()), Ok(vmx));
        }
    }
}
