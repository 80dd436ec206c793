//! Patterns of names: `*` stands for anything, everything else for itself, capitals or not.

/// Whether a name matches a pattern. Linear in both but for one star that is tried again.
pub fn matches(pattern: &str, name: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().flat_map(char::to_lowercase).collect();
    let name: Vec<char> = name.chars().flat_map(char::to_lowercase).collect();
    let (mut at, mut of) = (0, 0);
    // Where the last star stands, and up to where it reaches so far.
    let mut star: Option<(usize, usize)> = None;
    while at < name.len() {
        match pattern.get(of) {
            Some('*') => {
                star = Some((of, at));
                of += 1;
            }
            Some(c) if *c == name[at] => {
                of += 1;
                at += 1;
            }
            _ => match &mut star {
                Some((place, reach)) => {
                    *reach += 1;
                    at = *reach;
                    of = *place + 1;
                }
                None => return false,
            },
        }
    }
    pattern[of..].iter().all(|c| *c == '*')
}

/// Whether a text stands for more than one name.
pub fn is_pattern(text: &str) -> bool {
    text.contains('*')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

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
