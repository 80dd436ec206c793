//! Secrets that stand written out in a local server's entry, taken out of it: the file keeps `${secret:NAME}`.
//!
//! Of these two fields, which alone are filled from what is sealed, exactly that is lifted which would be masked when it is
//! shown.

use std::collections::HashSet;
use std::fmt;
use std::ops::Range;

use serde_json::{Map, Value};

use super::SecretName;
use super::mask::{secret_parts_below, secret_parts_of_arg};
use super::secrets::spans;

/// A secret that was taken out of an entry. `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct Lifted {
    /// Where it stood: `env.GITHUB_TOKEN`, `args[2]`.
    pub place: String,
    /// The name that stands there now.
    pub name: SecretName,
    /// What it is.
    pub value: String,
}

/// Takes what looks like a secret (known prefixes, randomness, the name before it) out of `env` and `args` of a local
/// server's raw entry. `named` is given the value and the name that is wanted for it, and gives the one that stands there
/// then, or `None` where the value stays; it is asked once for each different value.
pub fn lift(
    entry: &mut Value,
    mut named: impl FnMut(&str, &str) -> Option<SecretName>,
) -> Vec<Lifted> {
    let mut lifting = Lifting {
        named: &mut named,
        lifted: Vec::new(),
        kept: HashSet::new(),
    };
    if let Some(env) = entry.get_mut("env").and_then(Value::as_object_mut) {
        lifting.environment(env);
    }
    if let Some(args) = entry.get_mut("args").and_then(Value::as_array_mut) {
        lifting.arguments(args);
    }
    lifting.lifted
}

/// Whether anything would be taken out.
pub fn has_literals(entry: &Value) -> bool {
    let mut has = false;
    lift(&mut entry.clone(), |_, _| {
        has = true;
        None
    });
    has
}

struct Lifting<'a> {
    named: &'a mut dyn FnMut(&str, &str) -> Option<SecretName>,
    lifted: Vec<Lifted>,
    /// Values that were given no name.
    kept: HashSet<String>,
}

impl Lifting<'_> {
    fn environment(&mut self, env: &mut Map<String, Value>) {
        // Once more where something was taken out: what is left may look secret without its neighbours, and what a
        // variable called `value` is stands beside it.
        loop {
            let beside = env.clone();
            for (name, value) in env.iter_mut() {
                if let Value::String(text) = value {
                    let parts = secret_parts_below("env", name, &beside, text);
                    *text = self.without(text, &parts, name, &format!("env.{name}"));
                }
            }
            if *env == beside {
                return;
            }
        }
    }

    fn arguments(&mut self, args: &mut [Value]) {
        let mut before: Option<String> = None;
        for (index, arg) in args.iter_mut().enumerate() {
            let Value::String(text) = arg else {
                before = None;
                continue;
            };
            let was = text.clone();
            loop {
                let parts = secret_parts_of_arg(before.as_deref(), text);
                let told = parts.first().and_then(|part| name_within(text, part));
                let wanted = told.or_else(|| before.clone()).unwrap_or_default();
                let left = self.without(text, &parts, &wanted, &format!("args[{index}]"));
                if left == *text {
                    break;
                }
                *text = left;
            }
            before = Some(was);
        }
    }

    fn without(&mut self, text: &str, parts: &[Range<usize>], wanted: &str, place: &str) -> String {
        let mut left = String::with_capacity(text.len());
        let mut from = 0;
        for part in parts {
            left.push_str(&text[from..part.start]);
            let value = &text[part.clone()];
            match self.name_of(value, wanted, place) {
                Some(name) => left.push_str(&name.placeholder()),
                None => left.push_str(value),
            }
            from = part.end;
        }
        left.push_str(&text[from..]);
        left
    }

    fn name_of(&mut self, value: &str, wanted: &str, place: &str) -> Option<SecretName> {
        let known = self.lifted.iter().find(|lifted| lifted.value == value);
        if let Some(known) = known {
            return Some(known.name.clone());
        }
        if self.kept.contains(value) {
            return None;
        }
        // A name is written down in full: none that looks like a secret itself.
        let wanted = Some(wanted).filter(|wanted| spans(wanted).is_empty());
        let Some(name) = (self.named)(value, &in_capitals(wanted.unwrap_or_default())) else {
            self.kept.insert(value.to_owned());
            return None;
        };
        self.lifted.push(Lifted {
            place: place.to_owned(),
            name: name.clone(),
            value: value.to_owned(),
        });
        Some(name)
    }
}

/// The name that stands before a part of an argument: `--api-key=…`, `TOKEN=…`.
fn name_within(text: &str, part: &Range<usize>) -> Option<String> {
    let before = text[..part.start].trim_end_matches(['=', ':', ' ', '"', '\'']);
    let is_name = |c: char| c.is_ascii_alphanumeric() || "_-".contains(c);
    let name = &before[before.trim_end_matches(is_name).len()..];
    let is_name = name.bytes().any(|b| b.is_ascii_alphabetic());
    (is_name && before.len() < part.start).then(|| name.to_owned())
}

/// `--api-key` → `API_KEY`; `SECRET` where nothing is left.
fn in_capitals(wanted: &str) -> String {
    let name: String = wanted
        .trim_matches(|c: char| !c.is_ascii_alphanumeric())
        .chars()
        .map(|c| match c {
            c if c.is_ascii_alphanumeric() => c.to_ascii_uppercase(),
            _ => '_',
        })
        .take(56)
        .collect();
    if name.is_empty() {
        "SECRET".to_owned()
    } else {
        name
    }
}

impl fmt::Debug for Lifted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lifted")
            .field("place", &self.place)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::super::mask::masked_json;
    use super::*;

    /// Names as they are wanted, a number behind one that is taken.
    fn names() -> impl FnMut(&str, &str) -> Option<SecretName> {
        let mut taken: Vec<String> = Vec::new();
        move |_, wanted| {
            let same = taken.iter().filter(|name| *name == wanted).count();
            taken.push(wanted.to_owned());
            let name = match same {
                0 => wanted.to_owned(),
                more => format!("{wanted}_{}", more + 1),
            };
            SecretName::new(&name).ok()
        }
    }

    fn lifted(mut entry: Value) -> (Value, Vec<(String, String, String)>) {
        let lifted = lift(&mut entry, names());
        let told = lifted
            .into_iter()
            .map(|one| (one.place, one.name.to_string(), one.value));
        (entry, told.collect())
    }

    #[test]
    fn what_looks_like_a_secret_gets_a_name() {
        const HUB: &str = "ghp_0123456789abcdefghijABCDEFGHIJ012345";
        for (entry, expected, names) in [
            (
                json!({"command": "x", "env": {"GITHUB_TOKEN": "hush", "MODE": "fast"}}),
                json!({"command": "x", "env": {"GITHUB_TOKEN": "${secret:GITHUB_TOKEN}", "MODE": "fast"}}),
                &[("env.GITHUB_TOKEN", "GITHUB_TOKEN", "hush")][..],
            ),
            (
                json!({"args": ["-y", "srv", "--api-key", "hush-1", "--token=hush-22"]}),
                json!({"args": ["-y", "srv", "--api-key", "${secret:API_KEY}", "--token=${secret:TOKEN}"]}),
                &[
                    ("args[3]", "API_KEY", "hush-1"),
                    ("args[4]", "TOKEN", "hush-22"),
                ],
            ),
            (
                json!({"args": [format!("clé{HUB}")], "env": {"name": "api-key", "value": "hush"}}),
                json!({"args": ["clé${secret:SECRET}"], "env": {"name": "api-key", "value": "${secret:VALUE}"}}),
                &[("env.value", "VALUE", "hush"), ("args[0]", "SECRET", HUB)],
            ),
            (
                json!({"env": {"value": "hush", "key": "a", "headers": "b"}}),
                json!({"env": {"value": "${secret:VALUE}", "key": "${secret:KEY}", "headers": "${secret:HEADERS}"}}),
                &[
                    ("env.key", "KEY", "a"),
                    ("env.headers", "HEADERS", "b"),
                    ("env.value", "VALUE", "hush"),
                ],
            ),
            (
                json!({"args": [HUB], "env": {"ANY": HUB}}),
                json!({"args": ["${secret:ANY}"], "env": {"ANY": "${secret:ANY}"}}),
                &[("env.ANY", "ANY", HUB)],
            ),
            (
                json!({"args": [HUB, "postgres://me:hush@db/x"]}),
                json!({"args": ["${secret:SECRET}", "postgres://me:${secret:ME}@db/x"]}),
                &[("args[0]", "SECRET", HUB), ("args[1]", "ME", "hush")],
            ),
            (
                json!({"env": {"TOKEN": "${secret:T}", "KEY": "${input:key}", "PATH_KEY": ""}, "args": ["--port", "80"]}),
                json!({"env": {"TOKEN": "${secret:T}", "KEY": "${input:key}", "PATH_KEY": ""}, "args": ["--port", "80"]}),
                &[],
            ),
        ] {
            assert_eq!(has_literals(&entry), !names.is_empty(), "{entry}");
            let (after, told) = lifted(entry);
            assert_eq!(after, expected);
            let told: Vec<_> = told.iter().map(|(a, b, c)| (&**a, &**b, &**c)).collect();
            assert_eq!(told, names);
        }
    }

    #[test]
    fn a_value_without_a_name_stays_and_is_asked_for_once() {
        let entry = json!({"env": {"A_TOKEN": "hush", "B_TOKEN": "hush", "C_TOKEN": "other"}});
        let (mut after, mut asked) = (entry.clone(), Vec::new());
        let taken = lift(&mut after, |value, wanted| {
            asked.push(value.to_owned());
            (value == "other").then(|| SecretName::new(wanted).unwrap())
        });
        assert_eq!(
            after,
            json!({"env": {"A_TOKEN": "hush", "B_TOKEN": "hush", "C_TOKEN": "${secret:C_TOKEN}"}})
        );
        assert_eq!(
            (taken.len(), asked),
            (1, vec!["hush".to_owned(), "other".to_owned()])
        );
    }

    #[test]
    fn a_lifted_secret_does_not_show_itself() {
        let mut entry = json!({"env": {"A_TOKEN": "hush"}});
        let told = format!("{:?}", lift(&mut entry, names()));
        assert!(!told.contains("hush") && told.contains("A_TOKEN"), "{told}");
    }

    fn words() -> impl Strategy<Value = String> {
        prop_oneof![
            "[ -~]{0,40}",
            "[A-Za-z0-9+/=_.-]{0,60}",
            "(--token|-p|TOKEN|password)[= :]{0,2}[a-z0-9]{0,20}",
            "https://[a-z]{1,5}:[a-z0-9]{1,9}@[a-z]{1,5}/[?]key=[a-z0-9]{1,30}",
            Just("${secret:OLD}".to_owned()),
        ]
    }

    proptest! {
        #[test]
        fn nothing_secret_is_left_and_nothing_is_lost(
            env in prop::collection::vec(("[A-Z_]{1,12}", words()), 0..5),
            args in prop::collection::vec(words(), 0..6),
        ) {
            let env: Map<String, Value> = env.into_iter().map(|(k, v)| (k, v.into())).collect();
            let entry = json!({"command": "x", "args": args, "env": env});
            let mut after = entry.clone();
            let taken = lift(&mut after, names());
            let mut text = after.to_string();
            for one in taken.iter().rev() {
                let inner = serde_json::to_string(&one.value).unwrap();
                text = text.replace(&one.name.placeholder(), &inner[1..inner.len() - 1]);
            }
            prop_assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), entry);
            prop_assert_eq!(&masked_json(None, &after), &after);
        }
    }
}
