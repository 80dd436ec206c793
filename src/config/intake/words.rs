//! A command line in one text, split as a shell would, without running one: quotes and backslashes, nothing else.

/// The words, or `None` where a quote is left open.
pub(super) fn split(line: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (Some('\''), c) => word.get_or_insert_default().push(c),
            // A backslash before anything else is one: Windows paths have many.
            (_, '\\')
                if chars.peek().is_some_and(|next| matches!(next, '"' | '\\'))
                    || (quote.is_none()
                        && chars.peek().is_some_and(|next| matches!(next, ' ' | '\''))) =>
            {
                word.get_or_insert_default().extend(chars.next());
            }
            (None, '"' | '\'') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    quote.is_none().then_some(words)
}
