//! The demo server's tools: what each is called, takes and answers.

use std::ops::RangeInclusive;

use base64::Engine as _;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use rmcp::model::{CallToolResult, ContentBlock, JsonObject, Tool, ToolAnnotations};
use serde_json::{Map, Value, json};

use super::picture;

type Answer = Result<CallToolResult, String>;

/// All of them.
pub(super) fn all() -> Vec<Tool> {
    let text = |about: &str| json!({"type": "string", "description": about});
    let number = |about: &str, least: i64, most: i64, default: i64| json!({"type": "integer", "description": about, "minimum": least, "maximum": most, "default": default});
    vec![
        tool(
            "echo",
            "Echo",
            "Says back what you say.",
            &json!({"text": text("What to say back")}),
            &["text"],
        ),
        tool(
            "clock",
            "Clock",
            "Tells the date and the time.",
            &json!({"zone": text("A time zone such as Europe/Vienna; UTC where none is given")}),
            &[],
        ),
        tool(
            "roll",
            "Roll dice",
            "Rolls dice and adds them up.",
            &json!({"count": number("How many dice", 1, 100, 1), "sides": number("How many sides each has", 2, 1000, 6)}),
            &[],
        ),
        tool(
            "countdown",
            "Countdown",
            "Counts down and reports its progress on the way; it can be stopped.",
            &json!({"from": number("Where to begin", 1, 1000, 5)}),
            &[],
        ),
        tool(
            "picture",
            "Picture",
            "Draws a small picture that belongs to a word.",
            &json!({"word": text("The word; each has its own picture")}),
            &[],
        ),
        tool(
            "fail",
            "Fail",
            "Always fails, to show how that looks.",
            &json!({"reason": text("What it should say")}),
            &[],
        ),
    ]
}

fn tool(
    name: &'static str,
    title: &str,
    description: &'static str,
    properties: &Value,
    required: &[&str],
) -> Tool {
    let mut schema = JsonObject::new();
    schema.insert("type".to_owned(), json!("object"));
    schema.insert("properties".to_owned(), properties.clone());
    if !required.is_empty() {
        schema.insert("required".to_owned(), json!(required));
    }
    schema.insert("additionalProperties".to_owned(), json!(false));
    let hints = ToolAnnotations::with_title(title)
        .read_only(true)
        .open_world(false);
    Tool::new(name, description, schema)
        .with_title(title)
        .with_annotations(hints)
}

pub(super) fn echo(arguments: &Map<String, Value>) -> Answer {
    let text = word(arguments, "text")?.ok_or("there is no text to say back")?;
    Ok(CallToolResult::success(vec![ContentBlock::text(text)]))
}

pub(super) fn clock(arguments: &Map<String, Value>) -> Answer {
    let zone = match word(arguments, "zone")? {
        None => TimeZone::UTC,
        Some(name) => TimeZone::get(name).map_err(|_| {
            format!("{name:?} is no time zone that this machine knows; try Europe/Vienna")
        })?,
    };
    let now = Timestamp::now().to_zoned(zone);
    Ok(CallToolResult::success(vec![ContentBlock::text(
        now.strftime("%A, %-d %B %Y, %H:%M:%S %Z").to_string(),
    )]))
}

pub(super) fn roll(arguments: &Map<String, Value>) -> Answer {
    let count = whole_number(arguments, "count", 1, 1..=100)?;
    let sides = whole_number(arguments, "sides", 6, 2..=1000)?;
    let mut rolled = Vec::new();
    for _ in 0..count {
        let random = getrandom::u64()
            .map_err(|error| format!("the machine gives no random numbers: {error}"))?;
        rolled.push(random % sides + 1);
    }
    let sum: u64 = rolled.iter().sum();
    let dice: Vec<String> = rolled.iter().map(u64::to_string).collect();
    let text = if count == 1 {
        sum.to_string()
    } else {
        format!("{} = {sum}", dice.join(" + "))
    };
    let mut result = CallToolResult::success(vec![ContentBlock::text(text)]);
    result.structured_content = Some(json!({"dice": rolled, "sum": sum}));
    Ok(result)
}

pub(super) fn picture(arguments: &Map<String, Value>) -> Answer {
    let word = word(arguments, "word")?.unwrap_or("switchboard");
    let png =
        picture::draw(word).map_err(|error| format!("the picture could not be drawn: {error}"))?;
    let data = base64::engine::general_purpose::STANDARD.encode(png);
    Ok(CallToolResult::success(vec![ContentBlock::image(
        data,
        "image/png",
    )]))
}

pub(super) fn fail(arguments: &Map<String, Value>) -> Answer {
    Err(word(arguments, "reason")?
        .unwrap_or("I was asked to fail, so I did.")
        .to_owned())
}

/// A whole number within bounds, or the default where none is given.
pub(super) fn whole_number(
    arguments: &Map<String, Value>,
    name: &str,
    default: u64,
    bounds: RangeInclusive<u64>,
) -> Result<u64, String> {
    let number = match arguments.get(name) {
        None | Some(Value::Null) => Some(default),
        Some(value) => value.as_u64(),
    };
    number
        .filter(|number| bounds.contains(number))
        .ok_or_else(|| {
            format!(
                "{name} must be a whole number from {} to {}",
                bounds.start(),
                bounds.end()
            )
        })
}

fn word<'a>(arguments: &'a Map<String, Value>, name: &str) -> Result<Option<&'a str>, String> {
    match arguments.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(format!("{name} must be text")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(value: &Value) -> Map<String, Value> {
        value.as_object().cloned().unwrap()
    }

    fn text(answer: Answer) -> String {
        let answer = answer.unwrap();
        answer.content[0].as_text().unwrap().text.clone()
    }

    #[test]
    fn dice_stay_within_their_sides() {
        let answer = roll(&arguments(&json!({"count": 100, "sides": 3}))).unwrap();
        let dice = answer.structured_content.unwrap();
        let dice: Vec<u64> = dice["dice"]
            .as_array()
            .unwrap()
            .iter()
            .map(|die| die.as_u64().unwrap())
            .collect();
        assert!(dice.len() == 100 && dice.iter().all(|die| (1..=3).contains(die)));
    }

    #[test]
    fn what_does_not_fit_is_told() {
        for wrong in [
            json!({"count": 0}),
            json!({"sides": 1}),
            json!({"count": "two"}),
            json!({"sides": 2.5}),
        ] {
            assert!(
                roll(&arguments(&wrong))
                    .unwrap_err()
                    .contains("whole number"),
                "{wrong}"
            );
        }
        assert!(
            clock(&arguments(&json!({"zone": "Nowhere/Else"})))
                .unwrap_err()
                .contains("no time zone")
        );
        assert!(echo(&arguments(&json!({}))).is_err());
    }

    #[test]
    fn echo_says_it_back() {
        assert_eq!(text(echo(&arguments(&json!({"text": "hé"})))), "hé");
    }

    #[test]
    fn every_tool_can_be_listed() {
        let names: Vec<String> = all().iter().map(|tool| tool.name.to_string()).collect();
        assert_eq!(
            names,
            ["echo", "clock", "roll", "countdown", "picture", "fail"]
        );
    }
}
