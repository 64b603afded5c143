use serde_json::{Value, json};

use super::*;

const KUBECTLS: &str = "\
apiVersion: v1
# The company's.
clusters:
- cluster:
    certificate-authority-data: QUJD
    server: https://work.example:6443  # do not touch
  name: work
contexts:
- context:
    cluster: work
    namespace: default
    user: me
  name: work
current-context: work
kind: Config
preferences: {}
users:
- name: me
  user:
    exec:
      apiVersion: client.authentication.k8s.io/v1
      args:
      - get-token
      command: aws
      env: null
";

fn own() -> String {
    json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "lab",
        "clusters": [{ "name": "lab", "cluster": { "server": "https://192.168.68.200:6443", "certificate-authority-data": "Q0E=" } }],
        "users": [{ "name": "lab-admin", "user": { "client-key-data": "S0VZ" } }],
        "contexts": [{ "name": "lab", "context": { "cluster": "lab", "user": "lab-admin" } }],
    })
    .to_string()
}

fn owner() -> Owner {
    Owner { lab: "lab".to_owned(), home: "/Users/me/.fusionlab".to_owned() }
}

fn merged(file: &str) -> Edited {
    merge(Some(file), &own(), &owner(), false).unwrap()
}

fn value(text: &str) -> Value {
    serde_saphyr::from_str(text).unwrap()
}

#[test]
fn a_file_that_was_not_there_has_the_lab_alone() {
    let edited = merge(None, &own(), &owner(), false).unwrap();
    let file = value(&edited.text);
    assert_eq!(file["current-context"], "lab");
    assert_eq!(file["users"][0]["user"]["client-key-data"], "S0VZ");
    assert_eq!((file["kind"].as_str(), file["apiVersion"].as_str()), (Some("Config"), Some("v1")));
    assert_eq!(edited.deeds.len(), 4, "{:?}", edited.deeds);
    assert_eq!(edited.current.as_deref(), Some("lab"));
}

#[test]
fn what_others_wrote_stays_byte_for_byte_and_is_restored_by_the_way_back() {
    let edited = merged(KUBECTLS);
    for line in KUBECTLS.lines() {
        assert!(edited.text.lines().any(|other| other == line), "{line} is gone:\n{}", edited.text);
    }
    assert_eq!(edited.current.as_deref(), Some("work"), "the user's own choice stays");
    assert_eq!(value(&edited.text)["clusters"][1]["cluster"]["extensions"][0]["name"], EXTENSION);
    assert_eq!(merged(&edited.text).deeds, [], "a second time changes nothing");
    let removed = remove(&edited.text, &owner()).unwrap();
    assert_eq!(removed.text, KUBECTLS);
    assert_eq!(removed.deeds.len(), 3);
    assert_eq!(remove(KUBECTLS, &owner()).unwrap().deeds, []);
}

#[test]
fn the_current_context_is_set_on_wish_and_taken_back_with_the_lab() {
    let edited = merge(Some(KUBECTLS), &own(), &owner(), true).unwrap();
    assert_eq!(edited.current.as_deref(), Some("lab"));
    assert!(edited.deeds.contains(&Deed::Current(Some("lab".to_owned()))));
    let removed = remove(&edited.text, &owner()).unwrap();
    assert_eq!(removed.current, None);
    assert!(removed.text.contains("current-context: \"\"\n"), "{}", removed.text);
}

#[test]
fn an_older_entry_of_ours_is_replaced_where_it_stands() {
    let old = merged(KUBECTLS).text.replace("192.168.68.200", "192.168.68.201");
    let edited = merged(&old);
    assert_eq!(edited.deeds, [Deed::Replaced("cluster", "lab".to_owned())]);
    assert_eq!(edited.text, merged(KUBECTLS).text);
}

#[test]
fn the_namespace_that_the_user_chose_stays() {
    let text = merged(KUBECTLS)
        .text
        .replace("    user: lab-admin\n", "    namespace: kube-system\n    user: lab-admin\n");
    assert_eq!(merged(&text).deeds, []);
    let edited = merged(&text.replace("cluster: lab\n", "cluster: other\n"));
    assert!(edited.text.contains("namespace: kube-system") && edited.deeds.len() == 1, "{}", edited.text);
}

#[test]
fn an_entry_of_that_name_that_is_not_ours_is_never_touched() {
    let foreign = KUBECTLS.replace("name: work", "name: lab").replace("cluster: work", "cluster: lab");
    let refused = merge(Some(&foreign), &own(), &owner(), false).unwrap_err();
    assert_eq!(refused, Refusal::Foreign { kind: "cluster", name: "lab".to_owned() });
    assert_eq!(remove(&foreign, &owner()).unwrap().deeds, []);
    let other = Owner { home: "/Users/you/.fusionlab".to_owned(), ..owner() };
    let text = merged(KUBECTLS).text;
    assert!(matches!(merge(Some(&text), &own(), &other, false), Err(Refusal::Foreign { .. })));
    assert_eq!(remove(&text, &other).unwrap().deeds, []);
}

#[test]
fn a_renamed_context_of_ours_goes_too() {
    let text =
        merged("").text.replace("  name: lab\ncurrent-context: lab", "  name: home\ncurrent-context: home");
    let removed = remove(&text, &owner()).unwrap();
    assert!(removed.deeds.contains(&Deed::Removed("context", "home".to_owned())), "{:?}", removed.deeds);
    assert_eq!(removed.current, None);
}

#[test]
fn lists_that_are_empty_are_filled_and_other_forms_are_read() {
    for file in [
        "apiVersion: v1\nclusters: null\ncontexts: []\ncurrent-context: \"\"\nkind: Config\nusers: ~ # none\n",
        "apiVersion: v1\nkind: Config\n",
        "# mine\n",
        "clusters:\n\nkind: Config",
        "clusters:\n  # first\n  - name: a\n    cluster: {server: https://a}\n  # last\nkind: Config\n",
        "---\nkind: Config\r\nclusters:\r\n- cluster: {}\r\n  name: a\r\n",
        "{\"kind\": \"Config\", \"clusters\": [{\"name\": \"a\", \"cluster\": {}}]}",
        "clusters:\n-\n  name: a\n  cluster:\n    note: |\n      - no item\n      # no comment\n",
    ] {
        let edited = merged(file);
        assert_eq!(edited.current.as_deref(), Some("lab"), "{file}");
        let (before, after) = (read(file).unwrap(), read(&edited.text).unwrap());
        let count = |file: &Map<String, Value>| entries(file, LISTS[0]).unwrap().len();
        assert_eq!(count(&after), count(&before) + 1, "{}", edited.text);
        let removed = remove(&edited.text, &owner()).unwrap();
        assert_eq!(meaning(read(&removed.text).unwrap()), meaning(before), "{}", removed.text);
    }
}

#[test]
fn what_cannot_be_understood_is_refused_whole() {
    for (file, why) in [
        ("a: [", "not YAML"),
        ("- a\n", "not a mapping"),
        ("kind: Pod\n", "kind is"),
        ("clusters: {a: b}\n", "not a list"),
        ("clusters: [{}]\n", "without a name"),
        ("users: [{name: a}, {name: a}]\n", "twice"),
        ("users: [{name: a}]\nkind: Config\n", "changed safely"),
        ("a: 1\na: 2\n", "not YAML"),
        ("kind: Config\n---\nkind: Config\n", "not YAML"),
        ("base: &b [{name: a, cluster: {}}]\nclusters: *b\n", "changed safely"),
    ] {
        let refused = merge(Some(file), &own(), &owner(), false).unwrap_err().to_string();
        assert!(refused.contains(why), "{file}: {refused}");
    }
}

proptest::proptest! {
    #[test]
    fn no_text_makes_it_panic_and_nothing_of_others_is_lost(
        pieces in proptest::collection::vec(
            "(clusters|contexts|users|current-context|kind|- name|  cluster|#|x): ?(lab|a|\\[\\]|\\{\\}|null)?\r?\n", 0..10),
    ) {
        let text = pieces.concat();
        if let Ok(edited) = merge(Some(&text), &own(), &owner(), false) {
            let removed = remove(&edited.text, &owner()).unwrap();
            let mut before = meaning(read(&text).unwrap());
            let mut after = meaning(read(&removed.text).unwrap());
            for file in [&mut before, &mut after] {
                file.shift_remove(CURRENT);
            }
            proptest::prop_assert_eq!(after, before);
        }
    }
}
