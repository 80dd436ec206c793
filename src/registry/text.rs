//! Text that servers send, made safe to keep and to show.

use super::hidden::without_hidden;
use crate::config::Masker;

/// A server's words with secrets masked, then cut as [`one_line`] does: in the other order the beginning of a secret would
/// pass.
pub(super) fn masked_line(masker: &Masker, text: &str, most: usize) -> String {
    one_line(&masked_beginning(masker, text, most), most)
}

/// A server's words with secrets masked, then cut as [`clip`] does.
pub(super) fn masked_clip(masker: &Masker, text: &str, most: usize) -> String {
    clip(&masked_beginning(masker, text, most), most)
}

/// As much is looked at beyond what is kept as a secret may reach, and that much is not shown.
fn masked_beginning(masker: &Masker, text: &str, most: usize) -> String {
    let end = text.floor_char_boundary(4 * (most + 1) + masker.reach());
    if end < text.len() {
        masker.mask_beginning(&text[..end]) + "…"
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

/// A line of a program's output without what cannot be seen: terminal colours, controls, and text for machines.
pub(super) fn plain_line(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let (seen, _) = without_hidden(&text);
    let mut plain = seen.replace('\t', " ").replace('\n', "");
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
    }

    #[test]
    fn a_guess_at_the_limit_is_shown_like_any_other() {
        let secret = "hunter22-and-more";
        let masker = Masker::of_env(&[("A_TOKEN".to_owned(), secret.to_owned())]);
        // The masks of its own secret make what is shown shorter than what is looked at.
        for lead in ["x ".repeat(4000), format!("{secret} ").repeat(400)] {
            for most in [9, 300] {
                let end = 4 * (most + 1) + masker.reach();
                for cut in [0, 3, 4, 8, 12] {
                    let shown = |guess: &str| {
                        let text = format!("{}{guess}{}", &lead[..end - cut], "x".repeat(50));
                        masked_clip(&masker, &text, most)
                    };
                    assert_eq!(shown(&secret[..cut]), shown(&"#".repeat(cut)), "{cut}");
                }
            }
        }
    }

    #[test]
    fn texts_are_bounded_by_characters() {
        assert_eq!(clip("äöü", 3), "äöü");
        assert_eq!(clip("äöüß", 3), "äö…");
        assert_eq!(one_line(" a\nb\u{0} ", 9), "a b");
        assert_eq!(plain_line(b"\x1b[31mred\x1b[0m\tblue\x07\r"), "red blue");
        assert_eq!(plain_line(b"\xff\xfe"), "\u{fffd}\u{fffd}");
        let hidden = "a\u{e0041}\u{200b}b\u{202e}c\u{1b}]0;t\u{7} d";
        assert_eq!(plain_line(hidden.as_bytes()), "abc d");
    }
}
