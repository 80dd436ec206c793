//! Text from anywhere → text that a terminal only shows.
//!
//! A server's output, a file name or a server name must not move the cursor, set the title, write the clipboard or turn
//! the direction of writing around. What stays is printable text, line ends and tabs.

/// The longest escape sequence that is taken away whole; of a longer one only its first character goes.
const LONGEST_SEQUENCE: usize = 4096;

/// Takes away escape sequences (ECMA-48), other control characters and marks that reorder text.
pub(super) fn clean(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(char) = rest.chars().next() {
        rest = &rest[char.len_utf8()..];
        match char {
            '\u{1b}' => rest = &rest[sequence_length(rest)..],
            '\n' | '\t' => out.push(char),
            _ if char.is_control() || reorders(char) => {}
            _ => out.push(char),
        }
    }
    out
}

/// The same for a place that is one line: line ends and tabs become spaces.
pub(super) fn clean_line(text: &str) -> String {
    clean(text).replace(['\n', '\t'], " ")
}

/// Marks, embeddings, overrides and isolates of the bidirectional algorithm (UAX 9), and the two separators that some
/// terminals take for line ends.
fn reorders(char: char) -> bool {
    matches!(
        char,
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
    )
}

/// How many bytes after an ESC belong to its sequence; 0 where none is complete.
fn sequence_length(rest: &str) -> usize {
    let mut chars = rest.char_indices().take(LONGEST_SEQUENCE);
    match chars.next() {
        // CSI: parameters, then one final byte.
        Some((_, '[')) => chars
            .find(|(_, char)| !matches!(char, '\u{20}'..='\u{3f}'))
            .filter(|(_, char)| matches!(char, '\u{40}'..='\u{7e}'))
            .map_or(0, |(at, _)| at + 1),
        // OSC, DCS, SOS, PM, APC: a string up to BEL or ST, which never spans lines in honest output.
        Some((_, ']' | 'P' | 'X' | '^' | '_')) => {
            match chars.find(|(_, char)| matches!(char, '\u{7}' | '\u{1b}' | '\u{9c}' | '\n')) {
                Some((_, '\n')) | None => 0,
                Some((at, '\u{1b}')) if rest[at + 1..].starts_with('\\') => at + 2,
                Some((at, end)) => at + end.len_utf8() - usize::from(end == '\u{1b}'),
            }
        }
        // Charset designation and the like: an intermediate and a final byte.
        Some((_, '\u{20}'..='\u{2f}')) => chars
            .next()
            .filter(|(_, char)| matches!(char, '\u{30}'..='\u{7e}'))
            .map_or(0, |(at, _)| at + 1),
        Some((_, '\u{30}'..='\u{7e}')) => 1,
        Some(_) | None => 0,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_printable_text_line_ends_and_tabs_stay() {
        for (text, expected) in [
            ("plain · Grüße 🎲\n\tnext", "plain · Grüße 🎲\n\tnext"),
            ("\u{1b}[2J\u{1b}[1;31mred\u{1b}[0m", "red"),
            ("\u{1b}]0;title\u{7}after", "after"),
            ("\u{1b}]52;c;c2VjcmV0\u{1b}\\after", "after"),
            ("\u{1b}]8;;http://x\u{1b}\\link\u{1b}]8;;\u{1b}\\", "link"),
            ("\u{1b}]0;never ended\nnext", "]0;never ended\nnext"),
            ("\u{9b}31mC1\u{9d}0;t\u{9c}", "31mC10;t"),
            ("\u{1b}creset\u{1b}(B", "reset"),
            ("a\rb\u{8}\u{7}\u{7f}\0c", "abc"),
            ("abc\u{202e}fdp.exe\u{2066}x\u{2069}", "abcfdp.exex"),
            ("\u{1b}", ""),
            ("\u{1b}[", "["),
            ("\u{1b}[31é", "[31é"),
            ("\u{1b}]x\u{1b}[2Jy", "y"),
        ] {
            assert_eq!(clean(text), expected, "{text:?}");
        }
        assert_eq!(clean_line("a\nb\tc"), "a b c");
    }

    proptest! {
        #[test]
        fn nothing_that_controls_a_terminal_is_left(
            text in "(\\PC|\u{1b}|\u{9b}|\u{9d}|\u{9c}|\u{7}|\\[|\\]|\\\\|[0-9;mJ\r\n]){0,60}",
        ) {
            let left = clean(&text);
            prop_assert!(left.chars().all(|c| c == '\n' || c == '\t' || !(c.is_control() || reorders(c))));
            prop_assert_eq!(clean(&left), left);
        }
    }
}
