//! Lines → the buttons that they press.

use super::*;
use crate::chat::Question;

fn view(labels: &[&str]) -> View {
    View::text("x").row(
        labels
            .iter()
            .map(|label| Button::new(*label, label.to_lowercase())),
    )
}

fn asking(labels: &[&str]) -> View {
    view(labels).asking(Question {
        placeholder: String::new(),
        of: None,
        secret: false,
    })
}

fn press(data: &str, on: i64) -> Choice {
    Choice::Press {
        data: data.to_owned(),
        on: MessageId(on),
    }
}

/// Messages 1, 2, … in order; each line is read after all of them.
fn check(views: &[View], cases: &[(&str, Choice)]) {
    let mut choices = Choices::default();
    let mut shown = Vec::new();
    for (id, view) in (1..).map(MessageId).zip(views) {
        choices.sent(id, view);
        shown.extend(view.buttons.iter().flatten().map(|button| (id, button)));
    }
    for (line, expected) in cases {
        let older = shown.iter().rev().copied();
        assert_eq!(choices.read(line, None, older), *expected, "{line:?}");
    }
}

#[test]
fn numbers_and_labels_press_the_newest_message() {
    check(
        &[view(&["Add", "List", "Help"]), view(&["Apply", "◀ Back"])],
        &[
            ("1", press("apply", 2)),
            (" 2 ", press("◀ back", 2)),
            (":1", press("apply", 2)),
            ("APPLY", press("apply", 2)),
            ("back", press("◀ back", 2)),
            ("list", press("list", 1)),
            ("3", Choice::Gone),
            (":3", Choice::Gone),
            ("4", Choice::Beyond(4)),
            (":4", Choice::Beyond(4)),
            ("2026", Choice::Beyond(2026)),
            ("0", Choice::Beyond(0)),
            ("Aply", Choice::Near("Apply".to_owned())),
            ("app", Choice::Near("Apply".to_owned())),
            ("bakc", Choice::Near("Back".to_owned())),
            ("a", Choice::Text),
            ("/aply", Choice::Text),
            ("hello", Choice::Text),
            ("5 apples", Choice::Text),
            ("+1", Choice::Text),
            ("apply it", Choice::Text),
            ("", Choice::Text),
        ],
    );
}

#[test]
fn a_question_takes_bare_numbers_as_answers_and_other_labels_too() {
    check(
        &[view(&["github"]), asking(&["Skip", "Cancel"])],
        &[
            ("1", Choice::Text),
            (":1", press("skip", 2)),
            ("cancel", press("cancel", 2)),
            ("github", Choice::Text),
            (":7", Choice::Gone),
        ],
    );
}

#[test]
fn nothing_is_taken_for_a_slip_while_a_question_waits() {
    let mut choices = Choices::default();
    choices.sent(MessageId(1), &asking(&["Skip"]));
    choices.sent(MessageId(2), &view(&["Apply"]));
    let read = |choices: &Choices, line: &str| choices.read(line, None, std::iter::empty());
    for line in ["8080", "aply"] {
        assert_eq!(read(&choices, line), Choice::Text, "{line}");
    }
    choices.said("/mcp list");
    assert_eq!(read(&choices, "8080"), Choice::Text);
    choices.said("8080");
    assert_eq!(read(&choices, "8080"), Choice::Beyond(8080));
    choices.sent(MessageId(3), &asking(&["Skip"]));
    choices.sent(MessageId(4), &view(&["Apply"]));
    choices.edited(MessageId(3), &View::text("Cancelled."), false);
    assert_eq!(read(&choices, "8080"), Choice::Beyond(8080));
}

#[test]
fn without_choices_everything_is_text() {
    check(
        &[View::text("hello")],
        &[("1", Choice::Text), ("apply", Choice::Text)],
    );
}

#[test]
fn an_edit_takes_the_numbers_unless_it_is_progress() {
    let (running, panel) = (view(&["Stop"]), view(&["Add", "List"]));
    let mut choices = Choices::default();
    choices.sent(MessageId(1), &running);
    choices.sent(MessageId(2), &panel);
    choices.edited(MessageId(1), &running, true);
    assert_eq!(choices.numbers(MessageId(2)), Numbers::Bare);
    assert_eq!(choices.numbers(MessageId(1)), Numbers::None);
    choices.edited(MessageId(1), &view(&["Again"]), false);
    assert_eq!(choices.numbers(MessageId(1)), Numbers::Bare);
    let epoch = choices.epoch();
    choices.edited(MessageId(1), &view(&["Again"]), false);
    assert_eq!(choices.epoch(), epoch, "the same numbers mean the same");
    choices.edited(MessageId(1), &View::text("done"), false);
    assert_eq!(choices.newest(), None);
    assert_eq!(choices.read("1", None, std::iter::empty()), Choice::Gone);
}

#[test]
fn a_number_begun_before_the_numbers_changed_presses_nothing() {
    let mut choices = Choices::default();
    choices.sent(MessageId(1), &view(&["Restart"]));
    let begun = Some(choices.epoch());
    assert_eq!(
        choices.read("1", begun, std::iter::empty()),
        press("restart", 1)
    );
    choices.sent(MessageId(2), &view(&["Apply"]));
    assert_eq!(
        choices.read("1", begun, std::iter::empty()),
        Choice::Changed
    );
    assert_eq!(
        choices.read("apply", begun, std::iter::empty()),
        press("apply", 2)
    );
}

#[test]
fn a_line_is_a_secret_while_the_question_for_one_waits() {
    let secret = || {
        let mut view = asking(&["Skip"]);
        view.question.as_mut().unwrap().secret = true;
        view
    };
    let mut choices = Choices::default();
    let mut is = |step: &dyn Fn(&mut Choices), expected: bool| {
        step(&mut choices);
        assert_eq!(choices.asks_for_secret(), expected);
    };
    is(&|choices| choices.sent(MessageId(1), &secret()), true);
    // Another message below, and a command, answer nothing.
    is(
        &|choices| choices.sent(MessageId(2), &view(&["Apply"])),
        true,
    );
    is(&|choices| choices.said("/mcp list"), true);
    is(&|choices| choices.said("the key"), false);
    is(&|choices| choices.sent(MessageId(3), &secret()), true);
    is(
        &|choices| choices.edited(MessageId(3), &View::text("Cancelled."), false),
        false,
    );
    is(&|choices| choices.sent(MessageId(4), &secret()), true);
    is(
        &|choices| choices.edited(MessageId(4), &view(&["Again"]), false),
        false,
    );
    is(&|choices| choices.sent(MessageId(5), &secret()), true);
    is(&|choices| choices.sent(MessageId(6), &asking(&[])), false);
}
