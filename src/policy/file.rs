//! `data/admin/policy.json` as it is written: checked by its schema, and changed field by field, so that what the operator
//! wrote by hand beside a change stays as it is.

use serde_json::{Map, Value};

use super::HostPolicy;
use crate::config::{ConfigError, Problem, policy_document};

/// A policy file that is sound. Without a file it is an empty one.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PolicyFile(Map<String, Value>);

/// For editors; it says nothing.
const SCHEMA: &str = "$schema";

impl PolicyFile {
    /// Reads and checks the file's bytes; `None` where there is no file.
    pub fn read(bytes: Option<&[u8]>) -> Result<Self, ConfigError> {
        let Some(bytes) = bytes else {
            return Ok(Self::default());
        };
        let file = Self(policy_document(bytes)?);
        // The schema has let it through; a test holds both to one verdict.
        typed(file.fields())?;
        Ok(file)
    }

    /// The policy: the file's fields over these.
    pub(super) fn over(&self, defaults: &HostPolicy) -> HostPolicy {
        let mut fields = fields_of(defaults);
        fields.extend(self.fields());
        // What was read is of the form.
        typed(fields).unwrap_or_else(|_| defaults.clone())
    }

    /// The same file with something changed: the fields that differ are written anew, all others stay as they are.
    #[must_use]
    pub fn edited(&self, change: impl FnOnce(&mut HostPolicy)) -> Self {
        let before = self.over(&HostPolicy::default());
        let mut after = before.clone();
        change(&mut after);
        let (before, after) = (fields_of(&before), fields_of(&after));
        let mut fields = self.0.clone();
        for (name, value) in after {
            if before.get(&name) != Some(&value) {
                fields.insert(name, value);
            }
        }
        Self(fields)
    }

    /// The file's text.
    pub fn to_text(&self) -> String {
        // Writing a map with text keys to memory cannot fail.
        serde_json::to_string_pretty(&self.0).unwrap_or_default() + "\n"
    }

    fn fields(&self) -> Map<String, Value> {
        let mut fields = self.0.clone();
        fields.shift_remove(SCHEMA);
        fields
    }
}

impl HostPolicy {
    /// The names of the fields in which this differs from another one.
    pub fn fields_that_differ(&self, other: &Self) -> Vec<String> {
        let other = fields_of(other);
        let own = fields_of(self).into_iter();
        own.filter(|(name, value)| other.get(name) != Some(value))
            .map(|(name, _)| name)
            .collect()
    }
}

fn fields_of(policy: &HostPolicy) -> Map<String, Value> {
    match serde_json::to_value(policy) {
        Ok(Value::Object(fields)) => fields,
        // A struct is an object.
        _ => Map::new(),
    }
}

fn typed(fields: Map<String, Value>) -> Result<HostPolicy, ConfigError> {
    serde_json::from_value(Value::Object(fields))
        .map_err(|error| ConfigError::Invalid(vec![Problem::whole(error.to_string())]))
}

#[cfg(test)]
mod tests {
    use super::super::{Access, Given, Rules};
    use super::*;
    use crate::actor::ActorId;
    use crate::config::policy_schema_text;

    fn read(text: &str) -> Result<PolicyFile, ConfigError> {
        PolicyFile::read(Some(text.as_bytes()))
    }

    /// The examples beside the published schemas.
    fn examples(kind: &str) -> Vec<(String, Vec<u8>)> {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("schemas/examples")
            .join(kind);
        let entries = std::fs::read_dir(folder).unwrap().map(Result::unwrap);
        let mut found: Vec<_> = entries
            .map(|entry| {
                let name = entry.file_name().into_string().unwrap();
                (name, std::fs::read(entry.path()).unwrap())
            })
            .filter(|(name, _)| name.starts_with("policy."))
            .collect();
        found.sort();
        assert!(found.len() >= 3, "{kind}: {found:?}");
        found
    }

    #[test]
    fn the_examples_are_what_they_are_said_to_be() {
        for (name, bytes) in examples("valid") {
            let read = PolicyFile::read(Some(&bytes));
            assert!(read.is_ok(), "{name}: {}", read.unwrap_err());
        }
        for (name, bytes) in examples("invalid") {
            assert!(PolicyFile::read(Some(&bytes)).is_err(), "{name}");
        }
    }

    #[test]
    fn the_schema_knows_every_field_and_explains_each() {
        let schema: Value = serde_json::from_str(policy_schema_text()).unwrap();
        for policy in [HostPolicy::default(), HostPolicy::open()] {
            for (name, value) in fields_of(&policy) {
                let known = &schema["properties"][&name];
                assert!(known["title"].is_string(), "{name} has no title");
                assert!(known["description"].is_string(), "{name} is not explained");
                let alone = Map::from_iter([(name.clone(), value)]);
                let read = read(&serde_json::to_string(&alone).unwrap());
                assert!(read.is_ok(), "{name}: {}", read.unwrap_err());
            }
        }
    }

    #[test]
    fn a_file_says_what_it_says_and_the_rest_is_careful() {
        let given = Given::default();
        assert_eq!(given.over(&PolicyFile::default()), HostPolicy::default());
        let file =
            read(r#"{"access": "open", "operators": ["tg:1"], "quotas": {"servers": 3}}"#).unwrap();
        let policy = given.over(&file);
        assert_eq!(policy.access, Access::Open);
        assert_eq!(policy.quotas.servers, 3);
        assert_eq!(policy.quotas.calls_at_once, 4);
        assert_eq!(policy.local_servers, super::super::WhoAdds::Operators);
    }

    #[test]
    fn the_start_stands_beside_and_before_the_file() {
        let given = Given {
            operators: vec![ActorId::telegram(2)],
            access: Some(Access::Listed),
            ..Given::default()
        };
        let file = read(r#"{"access": "open", "operators": ["tg:1", "tg:2"]}"#).unwrap();
        let rules = Rules::of(given, &file);
        assert_eq!(rules.now().access, Access::Listed);
        assert_eq!(
            rules.now().operators,
            [ActorId::telegram(1), ActorId::telegram(2)]
        );
        assert!(rules.is_given(&ActorId::telegram(2)) && !rules.is_given(&ActorId::telegram(1)));
        assert!(rules.take_up(&file).is_none(), "nothing is new");
        assert!(rules.take_up(&PolicyFile::default()).is_some());
        assert_eq!(rules.now().operators, [ActorId::telegram(2)]);
    }

    #[test]
    fn a_change_leaves_everything_else_as_it_was_written() {
        let text = "{\n  \"$schema\": \"x\",\n  \"quotas\": {\n    \"servers\": 3\n  },\n  \"operators\": [\n    \"tg:1\"\n  ]\n}\n";
        let file = read(text).unwrap();
        assert_eq!(file.edited(|_| {}).to_text(), text);
        let changed = file.edited(|policy| policy.allow.people.push(ActorId::telegram(5)));
        let expected = text.replace(
            "  ]\n}\n",
            "  ],\n  \"allow\": {\n    \"people\": [\n      \"tg:5\"\n    ],\n    \"chats\": []\n  }\n}\n",
        );
        assert_eq!(changed.to_text(), expected);
        assert_eq!(read(&changed.to_text()).unwrap(), changed);
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place() {
        for (text, told) in [
            ("", "not JSON"),
            ("{\"access\": \"open\",\n", "line 2"),
            (r#"{"access": "ajar"}"#, "access"),
            (r#"{"operators": ["123"]}"#, "operators[0]"),
            (r#"{"opperators": []}"#, "opperators"),
            (r#"{"quotas": {"servers": 65}}"#, "quotas.servers"),
            (r#"{"access": "open", "access": "listed"}"#, "access"),
        ] {
            let error = read(text).unwrap_err().to_string();
            assert!(error.contains(told), "{text}: {error}");
        }
    }
}
