//! Which change of a message is only progress of something under way.
//!
//! A message is progress of its former self when it has the same links and buttons, asks nothing, and all its blocks are
//! the same but one: a line of text that says something else, or a list that goes on where the former ended. Only what is
//! new of it needs to be said. Every other change makes another message of it, which is to be read whole.

use crate::chat::{Block, Text, View};

/// What progress says that the former message did not say; `None` where the change is more than progress. Where it does
/// not go on right below (`continues`), the first block says what it is about. Never without a block.
pub(super) fn progress(old: &View, new: &View, continues: bool) -> Option<View> {
    let same_frame = old.buttons == new.buttons
        && old.links == new.links
        && old.blocks.len() == new.blocks.len()
        && old.question.is_none()
        && new.question.is_none()
        && old.is_error == new.is_error;
    if !same_frame {
        return None;
    }
    let mut changed = old
        .blocks
        .iter()
        .zip(&new.blocks)
        .enumerate()
        .filter(|(_, (old, new))| old != new);
    let (at, (before, after)) = changed.next()?;
    if changed.next().is_some() {
        return None;
    }
    let news = match (before, after) {
        (Block::Text(_), Block::Text(_)) => after.clone(),
        (Block::List(before), Block::List(after)) => Block::List(goes_on(before, after)?),
        _ => return None,
    };
    let title = new.blocks.first().filter(|_| at > 0 && !continues);
    Some(View {
        blocks: title.cloned().into_iter().chain([news]).collect(),
        links: if continues {
            Vec::new()
        } else {
            new.links.clone()
        },
        buttons: new.buttons.clone(),
        ..View::default()
    })
}

/// The new points of a list that begins as the former one; the former's last point may have become another, because it
/// said what was under way.
fn goes_on(before: &[Text], after: &[Text]) -> Option<Vec<Text>> {
    let same = before
        .iter()
        .zip(after)
        .take_while(|(before, after)| before == after)
        .count();
    let news = after.get(same..).filter(|news| !news.is_empty())?;
    (same + 1 >= before.len()).then(|| news.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::Button;

    fn testing(points: &[&str]) -> View {
        let points = points.iter().map(|point| Text::from((*point).to_owned()));
        View::titled("Testing")
            .with(Block::List(points.collect()))
            .row([Button::new("Stop", "s")])
    }

    fn line(text: &str) -> View {
        View::titled("Call").line(text.to_owned()).line("fixed")
    }

    /// The plain text of what is new.
    fn news(old: &View, new: &View, continues: bool) -> Option<String> {
        let view = progress(old, new, continues)?;
        let texts = view.blocks.iter().map(|block| match block {
            Block::Heading(text) => text.clone(),
            Block::Text(text) => text.to_plain(),
            Block::List(points) => points
                .iter()
                .map(Text::to_plain)
                .collect::<Vec<_>>()
                .join("+"),
            other => panic!("{other:?}"),
        });
        Some(texts.collect::<Vec<_>>().join("|"))
    }

    #[test]
    fn progress_says_what_is_new_and_everything_else_is_another_message() {
        let error = View {
            is_error: true,
            ..line("1")
        };
        for (old, new, below, continued) in [
            (
                testing(&["a", "b…"]),
                testing(&["a", "b", "c…"]),
                Some("Testing|b+c…"),
                Some("b+c…"),
            ),
            (
                testing(&["a"]),
                testing(&["a", "b"]),
                Some("Testing|b"),
                Some("b"),
            ),
            (
                testing(&["a", "b", "c"]),
                testing(&["x", "b", "c"]),
                None,
                None,
            ),
            (testing(&["a", "b"]), testing(&["a"]), None, None),
            (testing(&["a"]), testing(&["a"]), None, None),
            (line("1"), line("2"), Some("Call|2"), Some("2")),
            (line("1"), line("2").line("risks"), None, None),
            (
                line("1"),
                line("2").row([Button::new("Undo", "u")]),
                None,
                None,
            ),
            (line("0"), error, None, None),
            (
                line("1"),
                line("2").link("Log in", "https://bot.example"),
                None,
                None,
            ),
            (View::titled("a"), View::titled("b"), None, None),
            (View::text("1"), View::text("2"), Some("2"), Some("2")),
        ] {
            assert_eq!(news(&old, &new, false).as_deref(), below, "{old:?} {new:?}");
            assert_eq!(
                news(&old, &new, true).as_deref(),
                continued,
                "{old:?} {new:?}"
            );
        }
        // Where it does not go on right below, its links are said again, like its buttons.
        let linked = |text: &str| line(text).link("Log in", "https://bot.example");
        for (continues, expected) in [(false, 1), (true, 0)] {
            let news = progress(&linked("1"), &linked("2"), continues).unwrap();
            assert_eq!(news.links.len(), expected);
        }
    }
}
