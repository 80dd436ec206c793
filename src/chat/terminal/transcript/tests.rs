//! Messages and changes → the text that is written.

use super::super::line::Style;
use super::*;
use crate::chat::Block;

const SCREEN: Size = Some((20, 10));

fn transcript(gap: Gap) -> Transcript {
    let look = Look {
        color: false,
        gap,
        buttons: true,
    };
    Transcript::new(look, 100)
}

fn progress(text: &str) -> View {
    View::titled("Calling")
        .line(text.to_owned())
        .row([Button::new("Stop", "s")])
}

#[test]
fn messages_are_kept_apart_and_numbered_on() {
    for (gap, expected) in [
        (Gap::After, "one\n\ntwo\n\n"),
        (Gap::Before, "one\n\ntwo\n"),
        (Gap::None, "one\ntwo\n"),
    ] {
        let mut transcript = transcript(gap);
        let (first, one) = transcript.send(View::text("one"), &[], None);
        let (second, two) = transcript.send(View::text("two"), &[], None);
        assert_eq!((first, second), (MessageId(100), MessageId(101)));
        assert_eq!(one + &two, expected, "{gap:?}");
    }
}

#[test]
fn a_change_is_written_over_the_last_message() {
    let mut transcript = transcript(Gap::After);
    let now = Instant::now();
    let (id, first) = transcript.send(progress("a line longer than the screen"), &[], SCREEN);
    assert_eq!(
        first,
        "Calling\na line longer than\nthe screen\n[1] Stop\n\n"
    );
    // Heading, two rows, buttons, the empty line.
    let over = "\u{1b}[5A\r\u{1b}[J";
    let changed = transcript
        .edit(id, progress("b"), &[], SCREEN, now)
        .unwrap();
    assert_eq!(changed, format!("{over}Calling\nb\n[1] Stop\n\n"));

    // A line of the person stands in between: below, in short form, and that is written over again.
    transcript.typed();
    let later = now + BELOW_EVERY;
    let below = transcript
        .edit(id, progress("c"), &[], SCREEN, later)
        .unwrap();
    assert_eq!(below, "Calling\nc\n[1] Stop\n\n");
    let again = transcript.edit(
        id,
        View::titled("Calling").line("done"),
        &[],
        SCREEN,
        later + IN_PLACE_EVERY,
    );
    assert_eq!(again.unwrap(), "\u{1b}[4A\r\u{1b}[JCalling\ndone\n\n");
}

#[test]
fn nothing_is_written_over_after_a_resize_or_where_it_does_not_fit() {
    for (first, then) in [
        (SCREEN, Some((30, 10))),
        (Some((20, 4)), Some((20, 4))),
        (Some((20, 0)), Some((20, 0))),
        (None, None),
    ] {
        let mut transcript = transcript(Gap::After);
        let (id, _) = transcript.send(progress("a"), &[], first);
        let changed = transcript
            .edit(id, progress("b"), &[], then, Instant::now())
            .unwrap();
        assert_eq!(changed, "b\n\n", "{first:?} {then:?}");
    }
}

fn proposal(lead: &str) -> View {
    View::titled("Add demo?")
        .line(lead.to_owned())
        .line("What to know before you apply it:")
        .row([Button::new("Apply", "a"), Button::new("Cancel", "c")])
}

#[test]
fn what_becomes_another_message_is_shown_whole_and_is_the_newest() {
    let again = View::titled("Add demo?")
        .line("It changed.")
        .line("What to know before you apply it:")
        .line("It runs a program.")
        .row(proposal("").buttons.remove(0));
    let whole = "Add demo?\nIt changed.\nWhat to know before you apply it:\nIt runs a program.\n[1] Apply  [2] Cancel\n";
    let only_buttons = View::titled("Add demo?").row([Button::new("Edit", "e")]);
    let emptied = View::default().row([Button::new("Edit", "e")]);
    for (new, expected) in [
        (again, whole),
        (only_buttons, "Add demo?\n[1] Edit\n"),
        (emptied, "[1] Edit\n"),
        (View::default(), ""),
        (proposal("x"), ""),
    ] {
        for others in [0, 1] {
            let mut transcript = transcript(Gap::None);
            let (id, _) = transcript.send(proposal("x"), &[], None);
            let panel = View::text("panel").row([Button::new("Add", "add")]);
            for _ in 0..others {
                transcript.send(panel.clone(), &[], None);
            }
            let now = Instant::now();
            let shown = transcript.edit(id, new.clone(), &[], None, now).unwrap();
            assert_eq!(shown, expected, "{new:?} after {others} others");
            if !expected.is_empty() {
                assert_eq!(transcript.newest_buttons().unwrap().0, id);
            }
        }
    }
}

#[test]
fn the_answer_to_a_press_is_shown_whole_even_where_little_or_nothing_changed() {
    for answer in ["x", "y"] {
        let mut transcript = transcript(Gap::Before);
        let (id, _) = transcript.send(proposal("x"), &[], None);
        transcript.pressed(id);
        let now = Instant::now();
        let mut edit = || {
            transcript
                .edit(id, proposal(answer), &[], None, now)
                .unwrap()
        };
        let whole = format!(
            "\nAdd demo?\n{answer}\nWhat to know before you apply it:\n[1] Apply  [2] Cancel\n"
        );
        assert_eq!(edit(), whole);
        assert_eq!(edit(), "", "once");
    }
}

#[test]
fn held_messages_are_shown_once_in_their_last_state_and_at_their_place() {
    let mut transcript = transcript(Gap::None);
    let now = Instant::now();
    let file = |name: &str| vec![Line::of(Style::Plain, name)];
    let (before, _) = transcript.send(proposal("before"), &[], None);
    transcript.hold();
    let (call, mut out) = transcript.send(progress("0"), &[], None);
    let mut add = |text: String| out.push_str(&text);
    let (_, second) = transcript.send(View::text("second"), &[], None);
    add(second);
    add(transcript.note(&file("a note"), None));
    let done = View::titled("Calling")
        .line("done")
        .row([Button::new("Again", "a")]);
    for view in [progress("1"), progress("2"), done] {
        add(transcript
            .edit(call, view, &file("Saved x"), None, now)
            .unwrap());
    }
    add(transcript
        .edit(before, View::text("Applied."), &[], None, now)
        .unwrap());
    add(transcript.flush_due(None, now + BELOW_EVERY));
    assert_eq!((out.as_str(), transcript.due()), ("", None));
    assert_eq!(
        transcript.flush(None),
        "Applied.\nCalling\ndone\nSaved x\nSaved x\nSaved x\n[1] Again\nsecond\na note\n"
    );
    assert_eq!(transcript.flush(None), "");
    // A flood is shown rather than forgotten.
    transcript.hold();
    let mut shown = String::new();
    for index in 0..=KEPT {
        shown.push_str(
            &transcript
                .send(View::text(format!("m{index}.")), &[], None)
                .1,
        );
    }
    assert_eq!(shown, "m0.\n");
}

#[test]
fn where_files_are_stands_above_the_buttons_and_is_not_written_over() {
    let mut transcript = transcript(Gap::After);
    let file = [Line::of(Style::Plain, "Saved picture-1.png")];
    let (id, shown) = transcript.send(progress("a"), &file, SCREEN);
    assert_eq!(shown, "Calling\na\nSaved picture-1.png\n[1] Stop\n\n");
    let shown = transcript.edit(id, progress("b"), &[], SCREEN, Instant::now());
    assert_eq!(shown.unwrap(), "Calling\nb\n[1] Stop\n\n");
}

#[test]
fn an_answer_without_buttons_leaves_the_numbers_as_they_are() {
    let mut transcript = transcript(Gap::None);
    let (id, _) = transcript.send(proposal("x"), &[], None);
    transcript.send(View::error("No."), &[], None);
    for line in ["1", ":1", "apply"] {
        let press = Choice::Press {
            data: "a".to_owned(),
            on: id,
        };
        assert_eq!(transcript.read(line, None), press, "{line}");
    }
}

#[test]
fn changes_in_quick_sequence_are_coalesced_and_the_last_is_shown() {
    let mut transcript = transcript(Gap::Before);
    let now = Instant::now();
    let (id, _) = transcript.send(progress("0"), &[], None);
    let mut edit = |text: &str, after: Duration| {
        transcript
            .edit(id, progress(text), &[], None, now + after)
            .unwrap()
    };
    assert_eq!(edit("1", Duration::ZERO), "1\n");
    assert_eq!(edit("2", Duration::from_millis(1)), "");
    assert_eq!(edit("3", Duration::from_millis(999)), "");
    assert_eq!(transcript.due(), Some(now + BELOW_EVERY));
    assert_eq!(
        transcript.flush_due(None, now + Duration::from_millis(999)),
        ""
    );
    assert_eq!(transcript.flush_due(None, now + BELOW_EVERY), "3\n");
    assert_eq!(transcript.due(), None);
    transcript
        .edit(id, progress("4"), &[], None, now + BELOW_EVERY)
        .unwrap();
    // A new message does not overtake a change that waits.
    let (_, text) = transcript.send(View::text("next"), &[], None);
    assert_eq!(text, "4\n\nnext\n");
}

#[test]
fn a_change_that_changes_nothing_shows_nothing() {
    let mut transcript = transcript(Gap::Before);
    let now = Instant::now();
    let (id, _) = transcript.send(progress("a"), &[], None);
    let mut edit = |text: &str| transcript.edit(id, progress(text), &[], None, now).unwrap();
    assert_eq!(edit("a"), "");
    assert_eq!(edit("b"), "b\n");
    // There and back again before its time has come.
    assert_eq!(edit("c"), "");
    assert_eq!(edit("b"), "");
    assert_eq!(transcript.due(), None);
}

#[test]
fn numbers_are_shown_with_the_message_that_has_them() {
    let mut transcript = transcript(Gap::None);
    let now = Instant::now();
    let (call, _) = transcript.send(progress("0"), &[], None);
    let (_, panel) = transcript.send(
        View::text("panel").row([Button::new("Add", "add")]),
        &[],
        None,
    );
    assert_eq!(panel, "panel\n[1] Add\n");
    let changed = transcript
        .edit(call, progress("1"), &[], None, now)
        .unwrap();
    assert_eq!(changed, "Calling\n1\n[Stop]\n");
    let press = |data: &str, on| Choice::Press {
        data: data.to_owned(),
        on,
    };
    assert_eq!(transcript.read("stop", None), press("s", call));
    assert!(transcript.delete(call) && !transcript.delete(call));
    assert_eq!(transcript.read("stop", None), Choice::Text);
    assert_eq!(transcript.edit(call, progress("2"), &[], None, now), None);
}

#[test]
fn a_button_that_waits_to_be_shown_can_be_pressed_already_and_one_that_is_gone_cannot() {
    let mut transcript = transcript(Gap::None);
    let now = Instant::now();
    let (id, _) = transcript.send(progress("0"), &[], None);
    transcript.edit(id, progress("1"), &[], None, now).unwrap();
    let done = View::text("done").row([Button::new("Again", "a")]);
    assert_eq!(transcript.edit(id, done, &[], None, now).unwrap(), "");
    assert_eq!(
        transcript.newest_buttons(),
        Some((id, vec![Button::new("Again", "a")]))
    );
    assert_eq!(transcript.read("stop", None), Choice::Text);
}

#[test]
fn memory_is_bounded_and_errors_are_remembered() {
    let mut transcript = transcript(Gap::None);
    let (first, _) = transcript.send(View::text("first"), &[], None);
    for index in 0..KEPT {
        transcript.send(View::text(index.to_string()), &[], None);
    }
    assert_eq!(transcript.messages.len(), KEPT);
    assert_eq!(
        transcript.edit(first, View::text("x"), &[], None, Instant::now()),
        None
    );
    assert!(!transcript.saw_error());
    transcript.send(
        View::error("no").with(Block::Diff(String::new())),
        &[],
        None,
    );
    assert!(transcript.saw_error());
}
