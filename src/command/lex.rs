//! Shell-like words, with what phones do to quotes and dashes made plain. Linear in the text; never panics.
//!
//! Outside quotes a backslash takes the next character as it is (and joins lines at a line end); `'…'` is verbatim; in
//! `"…"` a backslash escapes `"`, `\`, `$`, a backtick and a line end. Smart quotes open and close like plain ones, and
//! inside plain quotes they are ordinary characters. Long dashes are made plain only where a word begins with one.

/// One word, and where it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Word {
    /// The word without its quotes.
    pub(super) text: String,
    /// The first byte after it.
    pub(super) end: usize,
}

/// A quote that is never closed: the word it began in, up to it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Open(pub(super) String);

/// All words of a text.
pub(super) fn words(text: &str) -> Result<Vec<String>, Open> {
    let mut words = Vec::new();
    let mut at = 0;
    while let Some(word) = word(text, at)? {
        at = word.end;
        words.push(word.text);
    }
    Ok(words)
}

/// The first word that begins at the byte `from` or after it.
pub(super) fn word(text: &str, from: usize) -> Result<Option<Word>, Open> {
    // A quote opened plain and closed smart happens where a phone corrects only the second one; that reading comes
    // second, so that smart quotes inside plain ones stay what they are.
    match Lexer::new(text, from, false).word() {
        Err(open) => Lexer::new(text, from, true).word().map_err(|_| open),
        word => word,
    }
}

/// The text without white space in front, where a phone's invisible characters count as white space.
pub(super) fn trim_start(text: &str) -> &str {
    text.trim_start_matches(is_space)
}

/// Splits at the first white space: the raw first word and the rest, trimmed in front.
pub(super) fn split_word(text: &str) -> (&str, &str) {
    let text = trim_start(text);
    let end = text.find(is_space).unwrap_or(text.len());
    let (word, rest) = text.split_at(end);
    (word, trim_start(rest))
}

/// White space, with the invisible characters that chats put in.
pub(super) fn is_space(c: char) -> bool {
    c.is_whitespace() || matches!(c, '\u{200B}' | '\u{FEFF}' | '\u{2060}')
}

/// A double quote of a phone: `“ ” „ ‟ « »`.
pub(super) fn is_smart_double(c: char) -> bool {
    matches!(c, '“' | '”' | '„' | '‟' | '«' | '»')
}

/// A single quote of a phone: `‘ ’ ‚ ‛ ‹ ›`.
pub(super) fn is_smart_single(c: char) -> bool {
    matches!(c, '‘' | '’' | '‚' | '‛' | '‹' | '›')
}

/// A word whose first character may be a long dash, with that dash as it was typed before the phone saw it: `—cwd` is
/// `--cwd`, `–e` is `-e`, and one alone is `--`.
pub(super) fn plain_dashes(word: &str) -> String {
    let Some(rest) = word.strip_prefix(is_long_dash) else {
        return match word.strip_prefix(is_short_dash) {
            Some(rest) => format!("-{rest}"),
            None => word.to_owned(),
        };
    };
    let letter = rest.split('=').next().unwrap_or(rest);
    if letter.chars().count() == 1 {
        format!("-{rest}")
    } else {
        format!("--{rest}")
    }
}

fn is_long_dash(c: char) -> bool {
    matches!(c, '–' | '—' | '―')
}

fn is_short_dash(c: char) -> bool {
    matches!(c, '\u{2010}' | '\u{2011}' | '\u{2212}')
}

struct Lexer<'a> {
    text: &'a str,
    at: usize,
    lenient: bool,
}

impl<'a> Lexer<'a> {
    fn new(text: &'a str, from: usize, lenient: bool) -> Self {
        Self {
            text,
            at: from,
            lenient,
        }
    }

    fn word(mut self) -> Result<Option<Word>, Open> {
        let start = loop {
            self.skip_spaces();
            let start = self.at;
            // A line continuation between words is no word.
            match self.rest().strip_prefix('\\').and_then(line_end) {
                Some(rest) => self.at = self.text.len() - rest.len(),
                None => break start,
            }
        };
        if self.rest().is_empty() {
            return Ok(None);
        }
        let mut word = String::new();
        let mut before = None;
        while let Some(c) = self.peek() {
            if is_space(c) {
                break;
            }
            let at = self.at;
            self.at += c.len_utf8();
            match c {
                '\\' => self.escaped(&mut word),
                _ if self.opens(c, before) => {
                    let Some(()) = self.quoted(c, &mut word) else {
                        return Err(Open(beginning(&self.text[start..at], &self.text[at..])));
                    };
                }
                _ => word.push(c),
            }
            before = Some(c);
        }
        // Only a dash that was typed bare, not one that was quoted.
        if self.text[start..].starts_with(|c| is_long_dash(c) || is_short_dash(c)) {
            word = plain_dashes(&word);
        }
        Ok(Some(Word {
            text: word,
            end: self.at,
        }))
    }

    /// Whether the quote character opens a quote here; the apostrophe of a phone inside a word (`it’s`) does not.
    fn opens(&self, c: char, before: Option<char>) -> bool {
        let inside_word = before.is_some_and(char::is_alphanumeric)
            && self.peek().is_some_and(char::is_alphanumeric);
        match c {
            '"' | '\'' => true,
            '’' => !inside_word,
            _ => is_smart_double(c) || is_smart_single(c),
        }
    }

    /// Takes everything up to the closing quote, and the quote; `None` where there is none.
    fn quoted(&mut self, quote: char, word: &mut String) -> Option<()> {
        let double = quote == '"' || is_smart_double(quote);
        let smart = self.lenient || is_smart_double(quote) || is_smart_single(quote);
        loop {
            let c = self.peek()?;
            self.at += c.len_utf8();
            let closes = if double {
                c == '"' || (smart && is_smart_double(c))
            } else {
                let apostrophe =
                    smart && c == '’' && self.peek().is_some_and(char::is_alphanumeric);
                c == '\'' || (smart && is_smart_single(c) && !apostrophe)
            };
            if closes {
                return Some(());
            }
            if double && c == '\\' {
                match self.peek() {
                    Some(next)
                        if matches!(next, '"' | '\\' | '$' | '`')
                            || (smart && is_smart_double(next)) =>
                    {
                        self.at += next.len_utf8();
                        word.push(next);
                    }
                    _ => match line_end(self.rest()) {
                        Some(rest) => self.at = self.text.len() - rest.len(),
                        None => word.push(c),
                    },
                }
            } else {
                word.push(c);
            }
        }
    }

    /// What follows a backslash outside quotes.
    fn escaped(&mut self, word: &mut String) {
        if let Some(rest) = line_end(self.rest()) {
            self.at = self.text.len() - rest.len();
        } else if let Some(c) = self.peek() {
            self.at += c.len_utf8();
            word.push(c);
        } else {
            word.push('\\');
        }
    }

    fn skip_spaces(&mut self) {
        self.at = self.text.len() - trim_start(self.rest()).len();
    }

    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }
}

fn line_end(text: &str) -> Option<&str> {
    text.strip_prefix("\r\n")
        .or_else(|| text.strip_prefix('\n'))
}

/// Enough of a word to find it again, and not so much that a secret behind the quote is repeated.
fn beginning(before: &str, from_quote: &str) -> String {
    let skipped = before.chars().count().saturating_sub(24);
    let before: String = before.chars().skip(skipped).collect();
    let after: String = from_quote.chars().take(5).collect();
    let after = after.split(is_space).next().unwrap_or_default();
    format!("{before}{after}")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The words joined by `|`.
    fn lexed(text: &str) -> String {
        match words(text) {
            Ok(words) => words.join("|"),
            Err(Open(at)) => format!("open at {at}"),
        }
    }

    #[test]
    fn words_are_read_like_a_shell_does() {
        for (text, expected) in [
            ("a b  c", "a|b|c"),
            ("a\nb\r\nc\u{a0}d\u{200b}e", "a|b|c|d|e"),
            ("'a b' \"c d\"", "a b|c d"),
            ("a'b c'd", "ab cd"),
            (r#""a \"b\" \n \\""#, r#"a "b" \n \"#),
            (r"'a \ b'", r"a \ b"),
            (r"a\ b c\\", r"a b|c\"),
            ("npx \\\n  -y \\\r\n x", "npx|-y|x"),
            ("trailing \\", "trailing|\\"),
            ("\\\n", ""),
            ("'' x", "|x"),
            ("K=\"two words\"", "K=two words"),
            ("", ""),
            ("   ", ""),
        ] {
            assert_eq!(lexed(text), expected, "{text:?}");
        }
    }

    #[test]
    fn what_phones_do_is_made_plain() {
        for (text, expected) in [
            ("“two words” x", "two words|x"),
            ("„two words“ «and more»", "two words|and more"),
            ("‘two words’", "two words"),
            ("‘it’s fine’ y", "it’s fine|y"),
            ("it’s fine", "it’s|fine"),
            ("\"half smart” x", "half smart|x"),
            ("\"kept “inside” plain\"", "kept “inside” plain"),
            ("—cwd —env=x", "--cwd|--env=x"),
            ("–e –y —e=K", "-e|-y|-e=K"),
            ("— x", "--|x"),
            ("– x", "--|x"),
            ("\u{2212}y", "-y"),
            ("a—b", "a—b"),
            ("\"—\" '–e'", "—|–e"),
        ] {
            assert_eq!(lexed(text), expected, "{text:?}");
        }
    }

    #[test]
    fn an_open_quote_is_named_without_what_follows_it() {
        for (text, expected) in [
            ("a \"b c", "open at \"b"),
            ("API_KEY='sk-verysecretvalue", "open at API_KEY='sk-v"),
            ("x “y", "open at “y"),
        ] {
            assert_eq!(lexed(text), expected, "{text:?}");
        }
    }
}
