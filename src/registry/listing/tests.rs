use rmcp::model::ServerResult;

use super::judge::{DESCRIPTION_BYTES, SCHEMA_BYTES, TOOLS};
use super::*;

fn judged(page: Value) -> (Vec<String>, Vec<(String, String)>, Option<String>) {
    let result: ServerResult = serde_json::from_value(page).unwrap();
    let masker = Masker::default();
    let mut judge = Judge::new("s", &masker);
    let next = judge.page(result).unwrap();
    let listing = judge.done();
    (
        listing.tools.iter().map(|tool| tool.name.clone()).collect(),
        listing
            .refused
            .iter()
            .map(|refused| (refused.tool.clone(), refused.reason.clone()))
            .collect(),
        next,
    )
}

#[test]
fn one_bad_tool_never_hides_the_others() {
    let good = json!({"name": "good", "inputSchema": {"type": "object"}});
    for (bad, tool, reason) in [
        (json!({"name": "bad"}), "bad", "inputSchema is missing"),
        (
            json!({"name": "bad", "inputSchema": null}),
            "bad",
            "inputSchema is missing",
        ),
        (
            json!({"name": "bad", "inputSchema": true}),
            "bad",
            "inputSchema is not an object",
        ),
        (
            json!({"name": "bad", "inputSchema": {"type": "string"}}),
            "bad",
            "inputSchema does not describe an object",
        ),
        (json!({"inputSchema": {}}), "", "it has no name"),
        (
            json!({"name": 7, "inputSchema": {}}),
            "",
            "its name is not a string",
        ),
        (json!("tool"), "", "it is not an object"),
        (
            json!({"name": "", "inputSchema": {}}),
            "",
            "its name is empty",
        ),
        (good.clone(), "good", "there is another tool of this name"),
    ] {
        let (tools, refused, _) = judged(json!({"tools": [good, bad]}));
        assert_eq!(tools, ["good"]);
        assert_eq!(refused, [(tool.to_owned(), reason.to_owned())]);
    }
}

#[test]
fn wrong_hints_do_not_cost_the_tool() {
    let (tools, refused, next) = judged(json!({
        "tools": [{"name": "a", "title": 3, "inputSchema": {}, "annotations": {"readOnlyHint": "yes"}}],
        "nextCursor": 2,
    }));
    assert_eq!((tools, refused.len()), (vec!["a".to_owned()], 0));
    assert_eq!(next.as_deref(), Some("2"));
}

#[test]
fn an_empty_cursor_ends_the_list() {
    let (_, _, next) = judged(json!({"tools": [], "nextCursor": ""}));
    assert_eq!(next, None);
}

fn listed(tool: &Value) -> Tool {
    let masker = Masker::default();
    let mut judge = Judge::new("s", &masker);
    judge
        .page(serde_json::from_value(json!({"tools": [tool]})).unwrap())
        .unwrap();
    let listing = judge.done();
    assert_eq!(listing.tools.len(), 1, "{:?}", listing.refused);
    listing.tools[0].clone()
}

#[test]
fn d12_a_pin_is_of_everything_that_a_tool_says_and_of_nothing_else() {
    let tool = json!({"name": "a", "title": "T", "description": "D",
        "inputSchema": {"type": "object", "properties": {"x": {"type": "string"}, "y": {}}},
        "outputSchema": {"type": "object"}, "annotations": {"readOnlyHint": true}});
    let pin = listed(&tool).pin;
    let same = [
        r#"{"annotations": {"readOnlyHint": true}, "outputSchema": {"type": "object"}, "description": "D", "title": "T",
            "inputSchema": {"properties": {"y": {}, "x": {"type": "string"}}, "type": "object"}, "name": "a"}"#,
    ];
    for text in same {
        assert_eq!(listed(&serde_json::from_str(text).unwrap()).pin, pin);
    }
    // A page that is gone through tool by tool pins the same.
    let masker = Masker::default();
    let mut judge = Judge::new("s", &masker);
    let page = json!({"tools": [{"name": "bad"}, tool]});
    judge.page(serde_json::from_value(page).unwrap()).unwrap();
    assert_eq!(judge.done().tools[0].pin, pin);
    for (field, value) in [
        ("name", json!("b")),
        ("title", json!("t")),
        ("title", Value::Null),
        ("description", json!("D\u{200b}")),
        (
            "inputSchema",
            json!({"type": "object", "properties": {"x": {"type": "number"}, "y": {}}}),
        ),
        ("outputSchema", json!({"type": "object", "title": ""})),
        ("outputSchema", Value::Null),
        ("annotations", json!({"readOnlyHint": false})),
        (
            "annotations",
            json!({"readOnlyHint": true, "openWorldHint": true}),
        ),
    ] {
        let mut other = tool.clone();
        other[field] = value;
        assert_ne!(listed(&other).pin, pin, "{field} is not pinned");
    }
}

#[test]
fn d12_what_people_compare_shows_all_of_a_definition() {
    let definition = listed(
        &json!({"name": "a", "title": "T", "description": "D\u{202e}\nE",
        "inputSchema": {"type": "object", "title": "I"}, "outputSchema": {"title": "O"},
        "annotations": {"destructiveHint": true}}),
    )
    .definition();
    for part in [
        "title: T",
        "D\\u{202e}\nE",
        "\"I\"",
        "\"O\"",
        "destructiveHint",
    ] {
        assert!(
            definition.contains(part),
            "{part} is missing in {definition}"
        );
    }
}

#[test]
fn d13_hidden_text_is_taken_out_of_what_a_tool_says_and_told() {
    let evil = "a\u{200b}b\u{202e}\u{e0041}\u{1b}[31m";
    let tool = listed(&json!({"name": "a", "title": evil, "description": evil,
        "inputSchema": {"type": "object", "properties": {"x": {"description": evil, "enum": [evil]}}}}));
    assert_eq!(tool.hidden, 4 * 4);
    assert_eq!(
        (tool.title.as_str(), tool.description.as_str()),
        ("ab", "ab")
    );
    let property = &tool.input_schema.to_map()["properties"]["x"];
    assert_eq!(*property, json!({"description": "ab", "enum": ["ab"]}));
    // Also after it slept in the cache.
    let listing = Listing {
        tools: vec![tool].into(),
        refused: Arc::default(),
    };
    let kept = Listing::from_json("s", &Masker::default(), &listing.to_json());
    assert_eq!(kept, Some(listing));
}

#[test]
fn d14_names_that_cannot_be_told_apart_are_refused() {
    let named = |name: &str| json!({"name": name, "inputSchema": {"type": "object"}});
    let argument =
        json!({"name": "x", "inputSchema": {"type": "object", "properties": {"a\u{200b}": {}}}});
    for (bad, reason) in [
        (named("good"), "there is another tool of this name"),
        (
            named("good\u{200b}"),
            "its name has characters that cannot be seen",
        ),
        (
            named("go\u{202e}od"),
            "its name has characters that cannot be seen",
        ),
        (named("good\n"), "its name has control characters"),
        (
            argument,
            "an argument's name has characters that cannot be seen",
        ),
    ] {
        let (tools, refused, _) = judged(json!({"tools": [named("good"), bad]}));
        assert_eq!(tools, ["good"]);
        assert_eq!(refused[0].1, reason);
    }
}

#[test]
fn d13_d18_too_many_and_too_large_are_refused_with_a_reason() {
    let long = "é".repeat(DESCRIPTION_BYTES);
    let tool = listed(&json!({"name": "l", "description": long, "inputSchema": {}}));
    assert!(tool.description.len() <= 2048 && tool.description.ends_with('…'));

    let many: Vec<_> = (0..TOOLS + 9)
        .map(|n| json!({"name": format!("t{n}"), "inputSchema": {}}))
        .collect();
    let (tools, refused, _) = judged(json!({"tools": many}));
    assert_eq!(tools.len(), TOOLS);
    assert_eq!(refused[0].1, "only the first 128 tools are taken");

    let large = json!({"name": "l", "inputSchema": {"description": "x".repeat(SCHEMA_BYTES)}});
    assert_eq!(
        judged(json!({"tools": [large]})).1[0].1,
        "inputSchema is larger than 32 KiB"
    );
}

#[test]
fn the_cache_gives_back_what_it_was_given() {
    let masker = Masker::default();
    let mut judge = Judge::new("s", &masker);
    judge.tool(
        &json!({"name": "a b", "title": "T", "description": "D", "inputSchema": {"type": "object"},
        "annotations": {"readOnlyHint": true, "destructiveHint": false}}),
        None,
    );
    judge.tool(&json!({"name": "bad"}), None);
    let listing = judge.done();
    assert_eq!(
        Listing::from_json("s", &masker, &listing.to_json()),
        Some(listing.clone())
    );
    assert_eq!(listing.tools[0].unique_name, "s__a_b");
    assert_eq!(Listing::from_json("s", &masker, &json!({"tools": 3})), None);
}

#[test]
fn what_a_tool_says_of_itself_holds_no_secret_of_its_server() {
    let env = [("A_TOKEN".to_owned(), "hunter22-\"word".to_owned())];
    let masker = Masker::of_env(&env);
    let secret = &env[0].1;
    let mut judge = Judge::new("s", &masker);
    for tool in [
        json!({"name": "good", "title": format!("T {secret}"), "description": format!("{}{secret}", "D".repeat(4090)),
            "inputSchema": {"type": "object", "properties": {secret: {"default": [secret]}}}}),
        json!({"name": secret, "inputSchema": {}}),
        json!({"name": format!("bad {secret}")}),
    ] {
        judge.tool(&tool, None);
    }
    let listing = judge.done();
    let shown = format!("{listing:?} {}", listing.to_json());
    assert!(!shown.contains("hunter"), "{shown}");
    assert_eq!((listing.tools.len(), listing.refused.len()), (1, 2));
    assert_eq!(listing.tools[0].input_schema.to_map()["type"], "object");
}
