//! One line of a screen: its pieces with their styles, its width, and where it breaks.

use unicode_width::UnicodeWidthChar;

/// Rows are never made narrower than this, however narrow the window is.
const NARROWEST: usize = 16;

/// One line of pieces with one style each; no piece holds a line end.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Line(pub(super) Vec<(Style, String)>);

/// How a piece looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    Plain,
    Bold,
    Code,
    Added,
    Removed,
    Dim,
    Error,
}

impl Line {
    /// A line of one piece, which must be clean.
    pub(super) fn of(style: Style, text: impl Into<String>) -> Self {
        Self(vec![(style, text.into())])
    }

    /// A line in which pieces between back-quotes are names or commands; in colours they need no quotes.
    pub(super) fn quoted(style: Style, text: &str, color: bool) -> Self {
        if !color || text.matches('`').count() % 2 == 1 {
            return Self::of(style, text);
        }
        let pieces = text.split('`').enumerate();
        Self(
            pieces
                .filter(|(_, piece)| !piece.is_empty())
                .map(|(index, piece)| match index % 2 {
                    1 => (Style::Code, piece.to_owned()),
                    _ => (style, piece.to_owned()),
                })
                .collect(),
        )
    }

    /// The line as text; `color` decides whether styles are written.
    pub(super) fn write(&self, color: bool, out: &mut String) {
        for (style, text) in &self.0 {
            match style.sequence().filter(|_| color && !text.is_empty()) {
                Some(sequence) => {
                    out.push_str(sequence);
                    out.push_str(text);
                    out.push_str("\u{1b}[0m");
                }
                None => out.push_str(text),
            }
        }
        out.push('\n');
    }

    /// Breaks the line at spaces into rows of at most this width. A word that is wider stays whole: the terminal breaks
    /// it, and it can be copied in one piece.
    pub(super) fn wrap(self, columns: Option<usize>) -> Vec<Self> {
        let Some(columns) = columns.map(|columns| columns.max(NARROWEST)) else {
            return vec![self];
        };
        let mut rows = vec![Self::default()];
        // The row's width up to the last space, and the spaces and the word after it.
        let (mut column, mut spaces, mut word) = (0, Self::default(), Self::default());
        for (style, char) in self
            .0
            .iter()
            .flat_map(|(style, text)| text.chars().map(move |char| (*style, char)))
        {
            if char == ' ' {
                if !word.0.is_empty() {
                    place(&mut rows, &mut column, &mut spaces, &mut word, columns);
                }
                spaces.push(style, char);
            } else {
                word.push(style, char);
            }
        }
        place(&mut rows, &mut column, &mut spaces, &mut word, columns);
        rows
    }

    /// The width on a terminal.
    pub(super) fn width(&self) -> usize {
        self.0.iter().map(|(_, text)| width(text)).sum()
    }

    fn push(&mut self, style: Style, char: char) {
        match self.0.last_mut() {
            Some((last, text)) if *last == style => text.push(char),
            Some(_) | None => self.0.push((style, char.to_string())),
        }
    }

    fn append(&mut self, other: Self) {
        for (style, text) in other.0 {
            match self.0.last_mut() {
                Some((last, before)) if *last == style => before.push_str(&text),
                Some(_) | None => self.0.push((style, text)),
            }
        }
    }

    /// How many rows the line takes on a terminal of this width.
    pub(super) fn rows(&self, columns: usize) -> usize {
        let columns = columns.max(2);
        let (mut rows, mut column) = (1, 0);
        for char in self.0.iter().flat_map(|(_, text)| text.chars()) {
            let width = if char == '\t' {
                8 - column % 8
            } else {
                char.width().unwrap_or(0)
            };
            if char == '\t' {
                // A tab stops at the edge and never wraps.
                column = (column + width).min(columns);
            } else if column + width > columns {
                rows += 1;
                column = width;
            } else {
                column += width;
            }
        }
        rows
    }
}

impl Style {
    fn sequence(self) -> Option<&'static str> {
        match self {
            Self::Plain => None,
            Self::Bold => Some("\u{1b}[1m"),
            Self::Code => Some("\u{1b}[36m"),
            Self::Added => Some("\u{1b}[32m"),
            Self::Removed => Some("\u{1b}[31m"),
            Self::Dim => Some("\u{1b}[2m"),
            Self::Error => Some("\u{1b}[1;31m"),
        }
    }
}

/// Puts a word into the row or, where it does not fit, into the next one without the spaces before it.
fn place(
    rows: &mut Vec<Line>,
    column: &mut usize,
    spaces: &mut Line,
    word: &mut Line,
    columns: usize,
) {
    let (spaces, word) = (std::mem::take(spaces), std::mem::take(word));
    let (gap, wide) = (spaces.width(), word.width());
    let fits = *column + gap + wide <= columns;
    if word.0.is_empty() && !fits {
        return;
    }
    if !fits && *column > 0 {
        rows.push(Line::default());
        *column = 0;
    } else if let Some(row) = rows.last_mut() {
        row.append(spaces);
        *column += gap;
    }
    if let Some(row) = rows.last_mut() {
        row.append(word);
        *column += wide;
    }
}

/// The width of a text without tabs on a terminal.
pub(super) fn width(text: &str) -> usize {
    text.chars().map(|char| char.width().unwrap_or(0)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_break_at_words() {
        for (text, columns, expected) in [
            (
                "one two three four",
                Some(16),
                vec!["one two three", "four"],
            ),
            ("exactly sixteen!", Some(16), vec!["exactly sixteen!"]),
            (
                "exactly sixteen! x",
                Some(16),
                vec!["exactly sixteen!", "x"],
            ),
            (
                "before it is made.",
                Some(17),
                vec!["before it is", "made."],
            ),
            (
                "a https://a.word/too-wide b",
                Some(16),
                vec!["a", "https://a.word/too-wide", "b"],
            ),
            ("   kept  apart", Some(16), vec!["   kept  apart"]),
            ("ends with a gap  ", Some(16), vec!["ends with a gap"]),
            ("あいうえ おかきく", Some(16), vec!["あいうえ", "おかきく"]),
            (
                "never narrower than that",
                Some(1),
                vec!["never narrower", "than that"],
            ),
            ("", Some(16), vec![""]),
            (
                "as long as it is, on a pipe",
                None,
                vec!["as long as it is, on a pipe"],
            ),
        ] {
            let rows = Line::of(Style::Plain, text).wrap(columns);
            let rows: Vec<String> = rows
                .iter()
                .map(|row| {
                    row.0
                        .iter()
                        .map(|(_, text)| text.as_str())
                        .collect::<String>()
                })
                .map(|row| row.trim_end().to_owned())
                .collect();
            assert_eq!(rows, expected, "{text:?}");
        }
    }

    #[test]
    fn a_word_of_two_styles_stays_together() {
        let mut line = Line::of(Style::Plain, "the server is ");
        line.0.push((Style::Code, "demo".to_owned()));
        line.0.push((Style::Plain, ".".to_owned()));
        let rows = line.wrap(Some(16));
        assert_eq!(
            rows[1].0,
            [
                (Style::Code, "demo".to_owned()),
                (Style::Plain, ".".to_owned())
            ]
        );
    }

    #[test]
    fn quotes_become_colours_where_there_are_any() {
        let pieces = |text, color| Line::quoted(Style::Dim, text, color).0;
        let dim = |text: &str| (Style::Dim, text.to_owned());
        assert_eq!(
            pieces("see `/mcp` now", true),
            [dim("see "), (Style::Code, "/mcp".to_owned()), dim(" now")]
        );
        assert_eq!(pieces("see `/mcp` now", false), [dim("see `/mcp` now")]);
        assert_eq!(pieces("a lone ` sign", true), [dim("a lone ` sign")]);
    }

    #[test]
    fn rows_are_counted_as_the_terminal_wraps() {
        for (text, columns, expected) in [
            ("", 10, 1),
            ("1234567890", 10, 1),
            ("12345678901", 10, 2),
            ("あいうえお", 10, 1),
            ("1あいうえお", 10, 2),
            ("e\u{301}e\u{301}e\u{301}", 3, 1),
            ("\tx", 10, 1),
            ("\tabc", 10, 2),
        ] {
            assert_eq!(
                Line::of(Style::Plain, text).rows(columns),
                expected,
                "{text:?}"
            );
        }
    }
}
