//! Text that servers send, made safe to keep and to show.

use crate::config::Masker;

/// Bytes of a text that are looked at beyond what is kept of it: a secret may be as long as a value (see
/// [`crate::config::limits::VALUE_BYTES`]) and more when it is encoded.
const BEYOND: usize = 4 * crate::config::limits::VALUE_BYTES;

/// A server's words with secrets masked, then cut as [`one_line`] does: in the other order the beginning of a secret would
/// pass.
pub(super) fn masked_line(masker: &Masker, text: &str, most: usize) -> String {
    one_line(&masked_beginning(masker, text, most), most)
}

/// A server's words with secrets masked, then cut as [`clip`] does.
pub(super) fn masked_clip(masker: &Masker, text: &str, most: usize) -> String {
    clip(&masked_beginning(masker, text, most), most)
}

fn masked_beginning(masker: &Masker, text: &str, most: usize) -> String {
    let mut end = text.len().min(4 * most + BEYOND);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    if end < text.len() {
        masker.mask_beginning(&text[..end])
    } else {
        masker.mask(text)
    }
}

/// At most `most` characters; a longer text ends in `…`.
pub(super) fn clip(text: &str, most: usize) -> String {
    if text.chars().nth(most).is_none() {
        return text.to_owned();
    }
    let mut clipped: String = text.chars().take(most.saturating_sub(1)).collect();
    clipped.push('…');
    clipped
}

/// At most `most` bytes; a longer text ends in `…`.
pub(super) fn clip_bytes(text: &str, most: usize) -> String {
    if text.len() <= most {
        return text.to_owned();
    }
    let mut end = most.saturating_sub('…'.len_utf8());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}…", &text[..end])
}

/// One line of at most `most` characters, control characters shown as blanks.
pub(super) fn one_line(text: &str, most: usize) -> String {
    let plain: String = text
        .chars()
        .take(most + 1)
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    clip(plain.trim(), most)
}

/// A sentence: it begins with a capital letter or a name in back quotes and ends with one full stop. Nothing stays nothing.
pub(super) fn sentence(text: &str) -> String {
    let text = text.trim().trim_end_matches(['.', ' ']);
    let mut letters = text.chars();
    let Some(first) = letters.next() else {
        return String::new();
    };
    // A question ends as it is.
    let stop = if text.ends_with(['?', '!']) { "" } else { "." };
    format!("{}{}{stop}", first.to_uppercase(), letters.as_str())
}

/// "1 tool", "2 tools".
pub(super) fn count(number: usize, thing: &str) -> String {
    let s = if number == 1 { "" } else { "s" };
    format!("{number} {thing}{s}")
}

/// A number of bytes for people: `1 GiB`, `1.5 GiB`, `300 MiB`.
pub(super) fn bytes(number: u64) -> String {
    const MIB: u64 = 1024 * 1024;
    let (unit, name) = match number {
        0..MIB => (1024, "KiB"),
        MIB..1_073_741_824 => (MIB, "MiB"),
        _ => (1024 * MIB, "GiB"),
    };
    let (whole, tenths) = (number / unit, number % unit * 10 / unit);
    match tenths {
        0 => format!("{whole} {name}"),
        _ => format!("{whole}.{tenths} {name}"),
    }
}

/// A line of a program's output without terminal colours and control characters.
pub(super) fn plain_line(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut plain = String::new();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        if c == '\u{1b}' {
            // CSI: everything up to a final byte; any other escape is two characters.
            if chars.next() == Some('[') {
                while chars.next().is_some_and(|c| !('@'..='~').contains(&c)) {}
            }
        } else if c == '\t' {
            plain.push(' ');
        } else if !c.is_control() {
            plain.push(c);
        }
    }
    plain.truncate(plain.trim_end().len());
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences_begin_and_end_well() {
        for (text, expected) in [
            ("it ended", "It ended."),
            ("It ended. ", "It ended."),
            ("`x` is gone...", "`x` is gone."),
            ("is it there?.", "Is it there?"),
            (" ", ""),
        ] {
            assert_eq!(sentence(text), expected);
        }
    }

    #[test]
    fn a_secret_that_the_limit_cuts_does_not_pass() {
        let env = [("A_TOKEN".to_owned(), "hunter22-and-more".to_owned())];
        let masker = Masker::of_env(&env);
        for most in 1..30 {
            for text in [
                masked_line(&masker, "see hunter22-and-more now", most),
                masked_clip(&masker, "see hunter22-and-more now", most),
            ] {
                assert!(!text.contains("hunt"), "{text}");
            }
        }
        let long = format!("{}hunter22-and-more", "x".repeat(4 * 9 + BEYOND - 8));
        assert!(!masked_beginning(&masker, &long, 9).contains("hunter22"));
    }

    #[test]
    fn texts_are_bounded_by_characters() {
        assert_eq!(clip("äöü", 3), "äöü");
        assert_eq!(clip("äöüß", 3), "äö…");
        assert_eq!(one_line(" a\nb\u{0} ", 9), "a b");
        assert_eq!(plain_line(b"\x1b[31mred\x1b[0m\tblue\x07\r"), "red blue");
        assert_eq!(plain_line(b"\xff\xfe"), "\u{fffd}\u{fffd}");
    }
}
