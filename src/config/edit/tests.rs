use proptest::prelude::*;
use serde_json::json;

use super::*;

fn files(local: &Value) -> Files {
    Files {
        local: Document(local.as_object().unwrap().clone()),
        remote: Document::default(),
    }
}

fn servers_of(names: &[(&str, i32)]) -> Files {
    let servers: Map<_, _> = names
        .iter()
        .map(|(name, value)| ((*name).to_owned(), json!(value)))
        .collect();
    files(&json!({"mcpServers": servers}))
}

fn text(files: &Files) -> String {
    // Not `to_text`, which writes `mcpServers` even where it is missing.
    let all = [&files.local.0, &files.remote.0];
    serde_json::to_string(&all).unwrap()
}

fn put(name: &str, at: Option<usize>) -> Change {
    Change::Put {
        file: FileKind::Local,
        name: name.to_owned(),
        value: json!(9),
        at,
    }
}

fn remove(name: &str) -> Change {
    Change::Remove {
        file: FileKind::Local,
        name: name.to_owned(),
    }
}

fn rename(from: &str, to: &str) -> Change {
    Change::Rename {
        file: FileKind::Local,
        from: from.to_owned(),
        to: to.to_owned(),
    }
}

#[test]
fn changes_do_what_they_say() {
    let old = servers_of(&[("a", 1), ("b", 2), ("c", 3)]);
    for (change, expected) in [
        (put("d", None), vec![("a", 1), ("b", 2), ("c", 3), ("d", 9)]),
        (
            put("d", Some(1)),
            vec![("a", 1), ("d", 9), ("b", 2), ("c", 3)],
        ),
        (
            put("d", Some(99)),
            vec![("a", 1), ("b", 2), ("c", 3), ("d", 9)],
        ),
        (put("b", Some(0)), vec![("a", 1), ("b", 9), ("c", 3)]),
        (remove("b"), vec![("a", 1), ("c", 3)]),
        (rename("b", "z"), vec![("a", 1), ("z", 2), ("c", 3)]),
        (rename("b", "b"), vec![("a", 1), ("b", 2), ("c", 3)]),
    ] {
        let new = Edit(vec![change.clone()]).apply(&old).unwrap();
        assert_eq!(text(&new), text(&servers_of(&expected)), "{change:?}");
    }
}

#[test]
fn an_edit_that_does_not_fit_changes_nothing() {
    let old = servers_of(&[("a", 1), ("b", 2)]);
    for (change, expected) in [
        (remove("x"), "there is no server `x`"),
        (rename("x", "y"), "there is no server `x`"),
        (rename("a", "b"), "there is already a server `b`"),
    ] {
        let before = text(&old);
        let error = Edit(vec![put("new", None), change])
            .apply(&old)
            .unwrap_err();
        assert_eq!(error.to_string(), expected);
        assert_eq!(text(&old), before);
    }
}

#[test]
fn between_says_it_with_few_changes() {
    let old = servers_of(&[("a", 1), ("b", 2), ("c", 3)]);
    for (new, expected) in [
        (vec![("a", 1), ("b", 2), ("c", 3)], vec![]),
        (
            vec![("a", 1), ("b", 2), ("c", 3), ("d", 9)],
            vec![put("d", None)],
        ),
        (
            vec![("a", 1), ("d", 9), ("b", 2), ("c", 3)],
            vec![put("d", Some(1))],
        ),
        (vec![("a", 1), ("b", 9), ("c", 3)], vec![put("b", None)]),
        (vec![("a", 1), ("c", 3)], vec![remove("b")]),
        (vec![("a", 1), ("z", 2), ("c", 3)], vec![rename("b", "z")]),
    ] {
        assert_eq!(Edit::between(&old, &servers_of(&new)).0, expected);
    }
}

#[test]
fn names_are_told_once_in_order() {
    let edit = Edit(vec![
        put("b", None),
        rename("a", "c"),
        remove("b"),
        put("c", None),
    ]);
    assert_eq!(edit.names(), ["b", "a", "c"]);
    // The first server of a thread makes the field; taking it back names the server all the same.
    let undo = Edit::between(&servers_of(&[("a", 1)]), &Files::default());
    assert_eq!(undo.names(), ["a"]);
}

#[test]
fn edits_survive_being_kept_as_json() {
    let edit = Edit(vec![
        put("b", Some(1)),
        rename("a", "c"),
        remove("b"),
        Change::Field {
            file: FileKind::Remote,
            key: "note".to_owned(),
            value: None,
        },
    ]);
    let kept = serde_json::to_string(&edit).unwrap();
    assert!(
        kept.starts_with(r#"[{"change":"put","file":"local","name":"b","value":9,"at":1}"#),
        "{kept}"
    );
    assert_eq!(serde_json::from_str::<Edit>(&kept).unwrap(), edit);
}

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        (0..3).prop_map(Value::from),
        Just(json!(1.0)),
        "[ab]{0,2}".prop_map(Value::from)
    ];
    leaf.prop_recursive(2, 6, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::vec(("[ab]", inner), 0..3)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

fn any_document() -> impl Strategy<Value = Document> {
    let servers = prop::collection::vec(("[a-h]", any_value()), 0..8)
        .prop_map(|all| Value::Object(all.into_iter().collect()));
    let servers = prop_oneof![9 => servers, 1 => any_value()];
    (
        prop::collection::vec(("[x-z]", any_value()), 0..4),
        prop::option::weighted(0.8, servers),
        0..4_usize,
    )
        .prop_map(|(fields, servers, at)| {
            let mut map: Map<String, Value> = fields.into_iter().collect();
            if let Some(servers) = servers {
                map.shift_insert(at.min(map.len()), SERVERS.to_owned(), servers);
            }
            Document(map)
        })
}

fn any_files() -> impl Strategy<Value = Files> {
    (any_document(), any_document()).prop_map(|(local, remote)| Files { local, remote })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]
    #[test]
    fn between_and_apply_are_inverse(old in any_files(), new in any_files()) {
        let there = Edit::between(&old, &new);
        let after = there.apply(&old).unwrap();
        prop_assert_eq!(text(&after), text(&new));
        let back = Edit::between(&after, &old);
        prop_assert_eq!(text(&back.apply(&after).unwrap()), text(&old));
        prop_assert!(Edit::between(&old, &old).is_empty());
    }
}
