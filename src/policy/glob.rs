//! Patterns of names, hosts and paths: `*` stands for anything, also for nothing; everything else for itself, capitals or not.

/// Whether the whole text is of the pattern. Takes time in the product of both lengths at most.
pub fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (folded(pattern), folded(text));
    let mut pieces = pattern.split('*');
    let Some(rest) = text.strip_prefix(pieces.next().unwrap_or_default()) else {
        return false;
    };
    let mut pieces: Vec<&str> = pieces.collect();
    let Some(last) = pieces.pop() else {
        return rest.is_empty();
    };
    let mut rest = rest;
    for piece in pieces {
        match rest.find(piece) {
            Some(at) => rest = &rest[at + piece.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

/// Whether a text stands for more than one name.
pub fn is_pattern(text: &str) -> bool {
    text.contains('*')
}

/// Letter by letter, and a sigma is a sigma also at the end of a word, which a piece of a pattern need not be.
fn folded(text: &str) -> String {
    let letters = text.chars().flat_map(char::to_lowercase);
    letters
        .map(|letter| if letter == 'ς' { 'σ' } else { letter })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_star_stands_for_anything() {
        for (pattern, text, expected) in [
            ("npx", "npx", true),
            ("npx", "NPX", true),
            ("npx", "npx2", false),
            ("*", "", true),
            ("*", "anything", true),
            ("python*", "python3.12", true),
            ("*.example.com", "a.example.com", true),
            ("*.example.com", "example.com", false),
            ("*.example.com", "a.example.com.evil.net", false),
            ("/opt/*/bin/*", "/opt/tools/bin/x", true),
            ("a*b*b", "ab", false),
            ("a*b*b", "abb", true),
            ("", "", true),
            ("", "x", false),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} on {text}");
        }
    }

    #[test]
    fn a_star_stands_for_anything_and_the_rest_for_itself() {
        for (pattern, name, expected) in [
            ("delete_*", "delete_all", true),
            ("delete_*", "delete_", true),
            ("delete_*", "undelete_all", false),
            ("*file*", "read_File_now", true),
            ("*", "", true),
            ("", "", true),
            ("", "a", false),
            ("a", "ab", false),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-c-b", false),
            ("read_file", "READ_FILE", true),
            // No other sign means anything.
            ("a?c", "abc", false),
            ("[ab]", "a", false),
            ("a.c", "abc", false),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn many_stars_do_not_take_for_ever() {
        assert!(!matches(&"*a".repeat(60), &"b".repeat(4_000)));
        assert!(!matches(
            &format!("{}c", "*a".repeat(30)),
            &"a".repeat(4_000)
        ));
    }

    proptest! {
        #[test]
        fn a_name_without_a_star_matches_itself(name in "[^*]{0,40}") {
            prop_assert!(matches(&name, &name) && matches("*", &name));
        }
    }
}
