//! A view → styled lines → the text that goes to a terminal or a pipe.
//!
//! Every string is cleaned here, whoever it came from; marks become colours where colours are wanted and plain signs
//! where they are not.

use super::clean::{clean, clean_line};
use super::line::{Line, Style, width};
use crate::chat::{Block, Button, Span, Text, View};

/// The widest a name of [`Block::Pairs`] is aligned to; longer ones push their value to the right.
const WIDEST_NAME: usize = 20;

/// How the buttons of a message are offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Numbers {
    /// `[1] Apply`: a bare number presses.
    Bare,
    /// `[:1] Skip`: the message asks for text, so a bare number is an answer.
    Colon,
    /// `[Stop]`: numbers belong to another message; the label presses.
    None,
    /// Nothing can be pressed, or the buttons stand right above.
    Hidden,
}

/// How a message is written.
#[derive(Debug, Clone, Copy)]
pub(super) struct Form {
    /// How its buttons are offered.
    pub numbers: Numbers,
    /// Marks become colours.
    pub color: bool,
    /// Lines break at words to this width.
    pub columns: Option<usize>,
}

/// A whole message; `files` are the lines that say where its attachments are.
pub(super) fn lines(view: &View, files: &[Line], form: Form) -> Vec<Line> {
    let mut lines = Vec::new();
    for block in &view.blocks {
        if matches!(block, Block::Heading(_)) && !lines.is_empty() {
            lines.push(Line::default());
        }
        block_lines(block, form, &mut lines);
    }
    if view.is_error
        && let Some((style, _)) = lines.first_mut().and_then(|line| line.0.first_mut())
    {
        *style = Style::Error;
    }
    lines.extend_from_slice(files);
    link_lines(view, &mut lines);
    example_line(view, &mut lines);
    if form.numbers != Numbers::Hidden {
        button_lines(&view.buttons, form, &mut lines);
    }
    lines
}

fn block_lines(block: &Block, form: Form, lines: &mut Vec<Line>) {
    match block {
        Block::Heading(text) => {
            lines.extend(Line::of(Style::Bold, clean_line(text)).wrap(form.columns));
        }
        Block::Text(text) => indent("", text_lines(text, form.color), form.columns, lines),
        Block::List(points) => {
            for point in points {
                indent("• ", point_lines(point, form.color), form.columns, lines);
            }
        }
        Block::Code { text, .. } => {
            for line in clean(text).trim_end_matches('\n').split('\n') {
                lines.push(Line(vec![
                    (Style::Plain, "    ".to_owned()),
                    (Style::Code, line.to_owned()),
                ]));
            }
        }
        Block::Diff(text) => {
            for line in clean(text).trim_end_matches('\n').split('\n') {
                let style = match line.as_bytes().first() {
                    _ if line.starts_with("+++") || line.starts_with("---") => Style::Bold,
                    Some(b'+') => Style::Added,
                    Some(b'-') => Style::Removed,
                    Some(b'@') => Style::Code,
                    _ => Style::Plain,
                };
                lines.push(Line(vec![
                    (Style::Plain, "    ".to_owned()),
                    (style, line.to_owned()),
                ]));
            }
        }
        Block::Pairs(pairs) => {
            let names: Vec<String> = pairs.iter().map(|(name, _)| clean_line(name)).collect();
            let widest = names.iter().map(|name| width(name)).max().unwrap_or(0);
            for (name, (_, value)) in names.iter().zip(pairs) {
                let gap = widest.min(WIDEST_NAME).saturating_sub(width(name)) + 2;
                let head = format!("  {name}{:gap$}", "");
                indent(&head, text_lines(value, form.color), form.columns, lines);
            }
        }
    }
}

/// A row each, and never broken: a torn address can be neither clicked nor copied.
fn link_lines(view: &View, lines: &mut Vec<Line>) {
    for link in &view.links {
        lines.push(Line(vec![
            (Style::Plain, format!("{}: ", clean_line(&link.label))),
            (Style::Code, clean_line(&link.url)),
        ]));
    }
}

fn example_line(view: &View, lines: &mut Vec<Line>) {
    let Some(question) = &view.question else {
        return;
    };
    let example = clean_line(&question.placeholder);
    let shown = |line: &Line| {
        let text: String = line.0.iter().map(|(_, text)| text.as_str()).collect();
        text.contains(&example)
    };
    if !example.is_empty() && !lines.iter().any(shown) {
        lines.push(Line::of(Style::Dim, format!("  ({example})")));
    }
}

/// Rows of buttons; a row that is too wide goes on below, and no button is broken.
fn button_lines(rows: &[Vec<Button>], form: Form, lines: &mut Vec<Line>) {
    let mut number = 0;
    for row in rows {
        let mut line = Line::default();
        for button in row {
            number += 1;
            let label = clean_line(&button.label);
            let button = match form.numbers {
                Numbers::Bare => Line(vec![
                    (Style::Bold, format!("[{number}]")),
                    (Style::Plain, format!(" {label}")),
                ]),
                Numbers::Colon => Line(vec![
                    (Style::Bold, format!("[:{number}]")),
                    (Style::Plain, format!(" {label}")),
                ]),
                Numbers::None | Numbers::Hidden => Line::of(Style::Bold, format!("[{label}]")),
            };
            if !line.0.is_empty() {
                let wide = line.width() + 2 + button.width();
                if form.columns.is_some_and(|columns| wide > columns) {
                    lines.push(std::mem::take(&mut line));
                } else {
                    line.0.push((Style::Plain, "  ".to_owned()));
                }
            }
            line.0.extend(button.0);
        }
        lines.push(line);
    }
}

/// A point that begins with a command or a name: it needs no quotes there, and a dash keeps it apart from what is said
/// of it.
fn point_lines(point: &Text, color: bool) -> Vec<Line> {
    let Some((Span::Code(code), rest)) = point.0.split_first() else {
        return text_lines(point, color);
    };
    // The one piece of a text is never quoted.
    let mut lines = text_lines(&Text::default().code(code), color);
    let rest = match rest {
        [Span::Plain(said)] if said.trim_start().starts_with(char::is_alphabetic) => {
            vec![Span::Plain(format!(" — {}", said.trim_start()))]
        }
        rest => rest.to_vec(),
    };
    add_spans(&rest, !color, &mut lines);
    lines
}

/// A text's lines. Where there are no colours a name or command stands in back-quotes, unless it is all there is.
fn text_lines(text: &Text, color: bool) -> Vec<Line> {
    let mut lines = vec![Line::default()];
    add_spans(&text.0, !color && text.0.len() > 1, &mut lines);
    lines
}

fn add_spans(spans: &[Span], quotes: bool, lines: &mut Vec<Line>) {
    for span in spans {
        let (style, text) = match span {
            Span::Plain(text) => (Style::Plain, clean(text)),
            Span::Bold(text) => (Style::Bold, clean(text)),
            Span::Code(code) if quotes => (Style::Code, format!("`{}`", clean(code))),
            Span::Code(code) => (Style::Code, clean(code)),
        };
        for (index, piece) in text.split('\n').enumerate() {
            if index > 0 {
                lines.push(Line::default());
            }
            if let Some(line) = lines.last_mut()
                && !piece.is_empty()
            {
                line.0.push((style, piece.to_owned()));
            }
        }
    }
}

/// Puts a mark before the first row and as much space before the others.
fn indent(mark: &str, text: Vec<Line>, columns: Option<usize>, lines: &mut Vec<Line>) {
    let columns = columns.map(|columns| columns.saturating_sub(width(mark)));
    let rows = text.into_iter().flat_map(|line| line.wrap(columns));
    for (index, mut line) in rows.enumerate() {
        let before = if index == 0 {
            mark.to_owned()
        } else {
            " ".repeat(width(mark))
        };
        if !before.is_empty() {
            line.0.insert(0, (Style::Plain, before));
        }
        lines.push(line);
    }
}

#[cfg(test)]
mod tests;
