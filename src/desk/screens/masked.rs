//! A view without the secrets that somebody typed: their message is deleted, so nothing of it is repeated.

use crate::chat::{Block, Span, Text, View};

/// The view with each of its texts masked. What leads somewhere (links, the data of buttons) is never made of typed text,
/// and files are masked where they are made. The mask is told whether a text is quoted: code, a difference.
pub(in crate::desk) fn masked(mut view: View, mask: &impl Fn(&str, bool) -> String) -> View {
    for block in &mut view.blocks {
        match block {
            Block::Heading(text) => *text = mask(text, false),
            Block::Code { text, .. } | Block::Diff(text) => *text = mask(text, true),
            Block::Text(text) => mask_text(text, mask),
            Block::List(texts) => texts.iter_mut().for_each(|text| mask_text(text, mask)),
            Block::Pairs(pairs) => {
                for (name, text) in pairs {
                    *name = mask(name, false);
                    mask_text(text, mask);
                }
            }
        }
    }
    for button in view.buttons.iter_mut().flatten() {
        button.label = mask(&button.label, false);
    }
    for file in &mut view.attachments {
        file.name = mask(&file.name, false);
        file.caption = mask(&file.caption, false);
    }
    if let Some(question) = &mut view.question {
        question.placeholder = mask(&question.placeholder, false);
    }
    view
}

fn mask_text(text: &mut Text, mask: &impl Fn(&str, bool) -> String) {
    for span in &mut text.0 {
        match span {
            Span::Plain(text) | Span::Bold(text) => *text = mask(text, false),
            Span::Code(text) => *text = mask(text, true),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::{Attachment, AttachmentKind, Button, Question};

    #[test]
    fn no_text_of_a_view_is_left_out() {
        const KEY: &str = "hush-4711";
        let view = View::titled(KEY)
            .line(Text::from(KEY).bold(KEY).code(KEY))
            .with(Block::List(vec![KEY.into()]))
            .with(Block::Code {
                language: "",
                text: KEY.to_owned(),
            })
            .with(Block::Diff(format!("+ {KEY}")))
            .with(Block::Pairs(vec![(KEY.to_owned(), KEY.into())]))
            .row([Button::new(KEY, "1:p:0")])
            .attach(Attachment {
                kind: AttachmentKind::File,
                name: KEY.to_owned(),
                bytes: Vec::new().into(),
                caption: KEY.to_owned(),
            })
            .asking(Question {
                placeholder: KEY.to_owned(),
                of: None,
                secret: false,
            });
        let shown = format!("{:?}", masked(view, &|text, _| text.replace(KEY, "••••")));
        assert!(shown.contains("••••") && !shown.contains(KEY), "{shown}");
    }
}
