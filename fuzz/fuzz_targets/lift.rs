//! The lifting of secrets: nothing is lost, and nothing that would be masked stays.

#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_json::{Map, Value, json};
use switchboard::config::{Document, Lifted, SecretName, has_literals, lift};

// A line with a tab is a variable and its value, each other line is an argument.
fuzz_target!(|text: &str| {
    let (env, args): (Vec<&str>, Vec<&str>) =
        text.split('\n').partition(|line| line.contains('\t'));
    let env = env.iter().filter_map(|line| line.split_once('\t'));
    let env: Map<String, Value> = env
        .map(|(name, value)| (name.to_owned(), value.into()))
        .collect();
    let entry = json!({"command": "x", "args": args, "env": env});

    let mut after = entry.clone();
    let mut count = 0;
    let lifted = lift(&mut after, |value, wanted| {
        assert!(!value.is_empty());
        assert!(SecretName::new(wanted).is_ok(), "{wanted:?} is no name");
        // As the bot does: never a name that stands there already.
        loop {
            count += 1;
            let name = format!("fuzz.{count}.");
            if !text.contains(&name) {
                return SecretName::new(&name).ok();
            }
        }
    });
    assert_eq!(has_literals(&entry), !lifted.is_empty());
    assert!(!has_literals(&after), "{after}");
    assert_eq!(masks(&after), 0, "{after}");
    assert_eq!(restored(after, &lifted), entry);

    let mut refused = entry.clone();
    assert!(lift(&mut refused, |_, _| None).is_empty());
    assert_eq!(refused, entry);
});

/// How many values would be masked where the entry is shown.
fn masks(entry: &Value) -> usize {
    let file = json!({"mcpServers": {"x": entry}}).to_string();
    Document::parse(file.as_bytes()).map_or(0, |document| document.masked().1)
}

fn restored(mut entry: Value, lifted: &[Lifted]) -> Value {
    let args = entry["args"].as_array_mut().into_iter().flatten();
    for value in args {
        *value = restored_text(value, lifted);
    }
    let env = entry["env"].as_object_mut().into_iter().flatten();
    for (_, value) in env {
        *value = restored_text(value, lifted);
    }
    entry
}

fn restored_text(value: &Value, lifted: &[Lifted]) -> Value {
    let mut text = value.as_str().unwrap_or_default().to_owned();
    for one in lifted.iter().rev() {
        text = text.replace(&one.name.placeholder(), &one.value);
    }
    text.into()
}
