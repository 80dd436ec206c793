//! Views → what stands on the screen.

use super::*;
use crate::chat::Question;

fn written(lines: &[Line], color: bool) -> String {
    let mut out = String::new();
    for line in lines {
        line.write(color, &mut out);
    }
    out
}

fn shown(view: &View, numbers: Numbers, color: bool) -> Vec<Line> {
    let columns = None;
    let form = Form {
        numbers,
        color,
        columns,
    };
    lines(view, &[], form)
}

/// A screen with every kind of block.
fn everything() -> View {
    View::titled("Add github")
        .line("The server `github` will run `npx`.\nIt is new here.")
        .with(Block::List(vec![
            Text::default().plain("new program ").code("npx"),
            Text::default()
                .bold("new name")
                .plain(" GITHUB_TOKEN\nin env"),
            Text::default().code("/srv/github"),
            Text::default().code("/mcp list").plain(" show the servers"),
            Text::default().code("--cwd").plain(" · like ").code("-C"),
        ]))
        .with(Block::Pairs(vec![
            (
                "command".to_owned(),
                Text::default().code("npx -y server-github"),
            ),
            ("env".to_owned(), Text::from("GITHUB_TOKEN=•••\nHOME=/root")),
            ("a name that is far too long".to_owned(), Text::from("x")),
        ]))
        .with(Block::Diff(
            "--- mcp.json\n+++ mcp.json\n@@ -1 +1,2 @@\n {\n-  \"a\": 1\n+  \"a\": 2\n".to_owned(),
        ))
        .with(Block::Heading("What it says".to_owned()))
        .with(Block::Code {
            language: "json",
            text: "{\n\t\"ok\": true\n}\n".to_owned(),
        })
        .row([Button::new("Apply", "a"), Button::new("Cancel", "c")])
        .row([Button::new("◀ Back", "b")])
}

#[test]
fn every_block_on_a_pipe() {
    insta::assert_snapshot!(written(&shown(&everything(), Numbers::Bare, false), false));
}

#[test]
fn every_block_in_colour() {
    let text = written(&shown(&everything(), Numbers::Bare, true), true);
    insta::assert_snapshot!(text.replace('\u{1b}', "␛"));
}

#[test]
fn a_question_shows_its_example_and_keeps_numbers_for_answers() {
    let asking = |text: &str| {
        View::titled("Add a server · 1/4")
            .line(text.to_owned())
            .asking(Question {
                placeholder: "github".to_owned(),
                of: None,
                secret: false,
            })
            .row([Button::new("Skip", "s"), Button::new("Cancel", "c")])
    };
    insta::assert_snapshot!(
        [
            written(
                &shown(&asking("What is it called?"), Numbers::Colon, false),
                false
            ),
            written(
                &shown(&asking("A name, like github."), Numbers::None, false),
                false
            ),
            written(
                &shown(&asking("A name, like github."), Numbers::Hidden, false),
                false
            ),
        ]
        .join("---\n")
    );
}

#[test]
fn an_error_is_seen_at_its_first_words() {
    let error = View::error("There is no server `x`.").line("Look at `/mcp list`.");
    let text = written(&shown(&error, Numbers::None, true), true);
    assert!(
        text.starts_with("\u{1b}[1;31mThere is no server "),
        "{text:?}"
    );
    assert_eq!(
        written(&shown(&error, Numbers::None, false), false),
        "There is no server `x`.\nLook at `/mcp list`.\n"
    );
}

#[test]
fn no_text_controls_the_terminal_wherever_it_stands() {
    let evil = "a\u{1b}]52;c;eA==\u{7}\u{1b}[2J\u{9b}H\u{202e}\rb";
    let view = View::titled(evil)
        .line(evil.to_owned())
        .with(Block::List(vec![Text::default().bold(evil).code(evil)]))
        .with(Block::Pairs(vec![(
            evil.to_owned(),
            Text::default().code(evil),
        )]))
        .with(Block::Diff(format!("+{evil}")))
        .with(Block::Code {
            language: "",
            text: evil.to_owned(),
        })
        .asking(Question {
            placeholder: format!("{evil}!"),
            of: None,
            secret: false,
        })
        .row([Button::new(evil, "x")]);
    for numbers in [Numbers::Bare, Numbers::Colon, Numbers::None] {
        let text = written(&shown(&view, numbers, false), false);
        assert!(
            text.chars()
                .all(|char| char == '\n' || !char.is_control() && char != '\u{202e}'),
            "{text:?}"
        );
        assert!(text.contains("aHb"), "what is harmless stays: {text:?}");
    }
}

#[test]
fn everything_is_wrapped_but_what_is_verbatim() {
    let view = View::titled("Connect something remote")
        .line("A paragraph that says a little more.")
        .with(Block::List(vec![
            Text::default()
                .code("/mcp list")
                .plain(" show the servers of it"),
        ]))
        .with(Block::Pairs(vec![
            ("env".to_owned(), Text::from("one two three four")),
            ("command".to_owned(), Text::from("x")),
        ]))
        .with(Block::Code {
            language: "",
            text: "code that is as long as it is".to_owned(),
        })
        .with(Block::Diff("+a line that is as long as it is".to_owned()))
        .row(["Apply", "My servers", "Cancel"].map(|label| Button::new(label, "x")));
    let file = Line::of(Style::Plain, "Saved x.png (1 byte) to /a folder/x.png");
    let form = Form {
        numbers: Numbers::Bare,
        color: false,
        columns: Some(24),
    };
    insta::assert_snapshot!(written(&lines(&view, &[file], form), false));
}

#[test]
fn a_link_stands_on_one_line_however_long() {
    let url = format!("https://bot.example/{}", "x".repeat(100));
    let view = View::text("Log in:")
        .link("Log in\u{1b}[2J", &url)
        .row([Button::new("Cancel", "c")]);
    let form = Form {
        numbers: Numbers::Bare,
        color: false,
        columns: Some(40),
    };
    let text = written(&lines(&view, &[], form), false);
    assert_eq!(text, format!("Log in:\nLog in: {url}\n[1] Cancel\n"));
}
