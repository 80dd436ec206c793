use serde_json::json;

use super::*;

fn map(value: &Value) -> Map<String, Value> {
    value.as_object().unwrap().clone()
}

fn told(schema: &Value, arguments: &Value) -> Vec<String> {
    let problems = check_arguments(&map(schema), &map(arguments));
    problems.iter().map(ToString::to_string).collect()
}

#[test]
fn arguments_are_checked_with_the_path_of_each_problem() {
    let schema = json!({"type": "object", "required": ["repos"], "additionalProperties": false, "properties": {
        "repos": {"type": "array", "items": {"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}}}},
        "state": {"enum": ["open", "closed"]}, "count": {"type": ["integer", "null"], "minimum": 1, "maximum": 10},
        "who": {"anyOf": [{"type": "string"}, {"type": "null"}]}, "1": {"type": "string"}, "id": {"type": "string", "pattern": "^[a-z]+$"}}});
    for (arguments, expected) in [
        (
            json!({"repos": [{"name": "a"}], "state": "open", "count": null, "who": null}),
            vec![],
        ),
        (json!({}), vec!["`repos`: missing"]),
        (
            json!({"repos": [{"name": 1}, {}]}),
            vec![
                "`repos[0].name`: expected a string",
                "`repos[1].name`: missing",
            ],
        ),
        (
            json!({"repos": {}, "x y": 1}),
            vec!["`repos`: expected an array", "`[\"x y\"]`: not known here"],
        ),
        (
            json!({"repos": [], "state": "secret-text"}),
            vec!["`state`: expected `open` or `closed`"],
        ),
        (
            json!({"repos": [], "count": 11}),
            vec!["`count`: must be at most 10"],
        ),
        (
            json!({"repos": [], "count": "many"}),
            vec!["`count`: expected a whole number or `null`"],
        ),
        (
            json!({"repos": [], "who": 1}),
            vec!["`who`: expected a string or `null`"],
        ),
        (json!({"repos": [], "1": 1}), vec!["`1`: expected a string"]),
        (
            json!({"repos": [], "id": "A"}),
            vec!["`id`: does not have the form `^[a-z]+$`"],
        ),
    ] {
        let mut found = told(&schema, &arguments);
        found.sort();
        let mut expected = expected;
        expected.sort_unstable();
        assert_eq!(found, expected);
    }
}

#[test]
fn the_dialect_of_the_schema_counts() {
    // An array of `items` is a tuple in draft 7 and no valid schema in 2020-12.
    let tuple = |dialect: &str| json!({"$schema": dialect, "type": "object", "properties": {"a": {"items": [{"type": "string"}]}}});
    let arguments = json!({"a": [1]});
    assert_eq!(
        told(
            &tuple("http://json-schema.org/draft-07/schema#"),
            &arguments
        ),
        ["`a[0]`: expected a string"]
    );
    assert_eq!(
        told(
            &tuple("https://json-schema.org/draft/2020-12/schema"),
            &arguments
        ),
        [""; 0]
    );
    assert_eq!(
        told(&tuple("https://example.com/own-dialect"), &arguments),
        [""; 0]
    );
}

#[test]
fn schemas_that_cannot_be_used_say_why() {
    let with = |key: &str, value: Value| {
        let mut schema = map(&json!({"type": "object"}));
        schema.insert(key.to_owned(), value);
        Value::Object(schema)
    };
    for (schema, expected) in [
        (json!({"type": "object"}), None),
        (
            json!({"type": "object", "properties": {"a": {"type": "string", "description": "x"}}, "required": ["a"]}),
            None,
        ),
        (
            json!({}),
            Some("the schema has no `type`; it must be `object`"),
        ),
        (
            json!({"type": "string"}),
            Some("the schema's `type` is not `object`"),
        ),
        (
            json!({"type": ["object", "null"]}),
            Some("the schema's `type` is not `object`"),
        ),
        (
            with("properties", json!([])),
            Some("the schema does not compile at `/properties`"),
        ),
        (
            with("properties", json!({"a": {"type": "text"}})),
            Some("the schema does not compile at `/properties/a/type`"),
        ),
        (
            with("properties", json!({"a": {"pattern": "("}})),
            Some("the schema does not compile at `/properties/a/pattern`"),
        ),
        (
            with("required", json!("a")),
            Some("the schema does not compile at `/required`"),
        ),
        (
            with("properties", json!({"a": {"$ref": "#/$defs/none"}})),
            Some("the schema does not compile"),
        ),
        (with("$defs", json!({"a": {"type": "string"}})), None),
        (with("x-own", json!(1)), None),
        // Another document is never fetched; the tool can be called all the same.
        (
            with(
                "properties",
                json!({"a": {"$ref": "https://example.com/x.json"}}),
            ),
            None,
        ),
    ] {
        assert_eq!(
            schema_problem(&map(&schema)).as_deref(),
            expected,
            "{schema}"
        );
    }
}

#[test]
fn plain_schemas_always_compile() {
    for schema in [
        json!({"type": "object", "properties": {"a": {"type": "array", "items": {"type": "integer"}, "minItems": 1}}, "additionalProperties": false}),
        json!({"$schema": "http://json-schema.org/draft-07/schema#", "type": "object", "properties": {"a": {"enum": ["x"], "default": "x", "format": "uri"}}}),
        json!({"type": "object", "properties": {"a": {"anyOf": [{"type": "string"}, {"type": "null"}]}, "b": true}, "required": ["a", "b"]}),
        json!({"type": "object", "properties": {"a": {"const": 1, "minimum": 1, "maxLength": 3, "title": "A"}}}),
    ] {
        assert!(is_plain(&map(&schema), 0), "{schema}");
        assert!(matches!(compiled(&map(&schema)), Some(Ok(_))), "{schema}");
    }
    for schema in [
        json!({"required": ["a", "a"]}),
        json!({"enum": []}),
        json!({"type": "text"}),
        json!({"anyOf": []}),
        json!({"minLength": -1}),
        json!({"properties": {"a": {"items": 1}}}),
        json!({"$schema": "urn:x"}),
        json!({"$ref": "#"}),
    ] {
        assert!(!is_plain(&map(&schema), 0), "{schema}");
    }
}

#[test]
fn hostile_schemas_cost_little() {
    // Twice the next, thirty times: 2^30 checks if it were followed.
    let mut definitions = Map::new();
    for i in 0..30 {
        let next = json!({"$ref": format!("#/$defs/d{}", i + 1)});
        definitions.insert(format!("d{i}"), json!({"allOf": [next, next]}));
    }
    definitions.insert("d30".to_owned(), json!({"type": "string"}));
    let mut nested = json!({"type": "string"});
    for _ in 0..120 {
        nested = json!({"not": nested});
    }
    let arguments = json!({"a": "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!", "b": {"a": {}}});
    for schema in [
        json!({"type": "object", "$defs": definitions, "properties": {"a": {"$ref": "#/$defs/d0"}}}),
        json!({"type": "object", "$ref": "#"}),
        json!({"type": "object", "properties": {"a": {"$ref": "#/properties/b"}, "b": {"$ref": "#/properties/a"}}}),
        json!({"type": "object", "$dynamicRef": "#x", "$dynamicAnchor": "x"}),
        json!({"type": "object", "$anchor": "x", "allOf": [{"$ref": "#x"}]}),
        json!({"type": "object", "properties": {"a": nested}}),
        json!({"type": "object", "description": "x".repeat(SCHEMA_BYTES)}),
    ] {
        assert_eq!(told(&schema, &arguments), [""; 0]);
        assert_eq!(schema_problem(&map(&schema)), None);
        assert!(compiled(&map(&schema)).is_none());
    }
    let slow = json!({"type": "object", "properties": {"a": {"pattern": "^(?=(a+)+$)(a+)+$"}}});
    let _ = told(&slow, &arguments);
}

#[test]
fn many_problems_are_cut() {
    let schema = json!({"type": "object", "additionalProperties": {"type": "string"}});
    let arguments: Map<_, _> = (0..500).map(|i| (format!("k{i}"), json!(i))).collect();
    assert_eq!(
        check_arguments(&map(&schema), &arguments).len(),
        MOST_PROBLEMS
    );
}
