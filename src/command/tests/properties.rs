//! What holds for any text.

use proptest::prelude::*;

use super::super::*;
use super::told;

/// Writes a word so that it is read back the same, in one of the ways that people use.
fn quoted(word: &str, way: u8) -> String {
    match way % 3 {
        0 => format!("'{}'", word.replace('\'', "'\\''")),
        1 => {
            let mut text = String::from("\"");
            for c in word.chars() {
                if matches!(c, '"' | '\\' | '$' | '`') {
                    text.push('\\');
                }
                text.push(c);
            }
            text + "\""
        }
        _ if word.is_empty() => "''".to_owned(),
        _ => word
            .chars()
            .map(|c| match c {
                '\n' => "'\n'".to_owned(),
                _ if c.is_ascii_alphanumeric() => c.to_string(),
                _ => format!("\\{c}"),
            })
            .collect(),
    }
}

/// Text with what is special in it more often than by chance.
fn tricky() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("/mcp ".to_owned()),
        Just("/mcp_".to_owned()),
        proptest::sample::select(TABLE).prop_map(|entry| format!("{} ", entry.name)),
        Just("claude mcp add ".to_owned()),
        "[-—–“”‘’„«»'\"\\\\`{}\\[\\]:,=@/ \n\r\u{a0}]{1,4}",
        "[a-zA-Z0-9=äöü🦀]{0,6}",
        any::<String>(),
    ];
    proptest::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in tricky(), rest in any::<String>()) {
        for text in [
            text.clone(),
            format!("/mcp {text}"),
            format!("/mcp add {text}"),
            format!("/mcp add-json {text}"),
            format!("/mcp call {text}"),
            format!("/mcp call a b {{{text}"),
            format!("/mcp edit a {text}"),
            format!("/mcp edit a args=[{text}"),
            format!("/mcp connect {text}"),
            format!("/mcp connect a https://x.example {text}"),
            format!("/mcp login {text}"),
            rest.clone(),
            format!("/{rest}"),
        ] {
            let _ = read(&text, Some("OurBot"));
            let _ = read(&text, None);
        }
    }

    #[test]
    fn a_written_add_line_comes_back(
        name in "[A-Za-z0-9_][A-Za-z0-9._-]{0,20}",
        words in proptest::collection::vec(any::<String>(), 1..6),
        env in proptest::collection::vec(("[A-Za-z_][A-Za-z0-9_]{0,8}", any::<String>()), 0..4),
        cwd in proptest::option::of("/[^/]{1,12}"),
        ways in any::<[u8; 4]>(),
    ) {
        prop_assume!(!words[0].is_empty() && !words[0].to_lowercase().starts_with("http"));
        let mut text = format!("/mcp add {name}");
        for (key, value) in &env {
            text += " -e ";
            text += key;
            text += "=";
            text += &quoted(value, ways[0]);
        }
        if let Some(cwd) = &cwd {
            text += " --cwd ";
            text += &quoted(cwd, ways[1]);
        }
        text += " --";
        for word in &words {
            text += " ";
            text += &quoted(word, ways[2]);
        }
        let expected = Request::Add(AddLine {
            name,
            command: words[0].clone(),
            args: words[1..].to_vec(),
            env,
            cwd,
            network: None,
        });
        let read = read(&text, None);
        prop_assert!(read == Ok(expected), "{text:?} is read as {}", told(&text));
    }

    #[test]
    fn a_written_connect_line_comes_back(
        name in proptest::option::of("[A-Za-z0-9_][A-Za-z0-9_-]{0,20}"),
        path in "[a-z0-9/]{0,12}",
        headers in proptest::collection::vec(("[A-Za-z][A-Za-z0-9-]{0,12}", "[ -~ä]{0,12}[a-z]"), 0..4),
        auth in 0_u8..6,
        url_first in any::<bool>(),
        ways in any::<[u8; 2]>(),
    ) {
        // What looks like no name is read as the token.
        prop_assume!(!name.as_deref().is_some_and(crate::config::is_secret_value));
        let url = format!("https://x.example/{path}");
        let mut text = String::from("/mcp connect");
        let order = [name.clone(), Some(url.clone())];
        let order: Vec<_> = if url_first { order.into_iter().rev().collect() } else { order.into() };
        for word in order.into_iter().flatten() {
            text += " ";
            text += &word;
        }
        for (header, value) in &headers {
            text += " --header ";
            text += &quoted(&format!("{header}: {value}"), ways[0]);
        }
        let (auth, option) = match auth {
            0 => (ConnectAuth::Ask, ""),
            1 => (ConnectAuth::None, " --none"),
            2 => (ConnectAuth::OAuth, " --oauth"),
            3 => (ConnectAuth::Bearer(None), " --bearer"),
            4 => (ConnectAuth::ApiKey { header: None, key: None }, " --api-key"),
            _ => (ConnectAuth::ApiKey { header: Some("X-Key".to_owned()), key: None }, " --api-key X-Key"),
        };
        text += option;
        let headers = headers.iter().map(|(name, value)| (name.clone(), value.trim().to_owned())).collect();
        let expected = Request::Connect(ConnectLine { name, url, headers, auth, client_id: None });
        let read = read(&text, None);
        prop_assert!(read == Ok(expected), "{text:?} is read as {}", told(&text));
    }

    #[test]
    fn capitals_of_command_words_do_not_count(
        entry in proptest::sample::select(TABLE),
        flips in any::<u32>(),
    ) {
        let flipped = |text: &str| -> String {
            let flip = |(at, c): (usize, char)| {
                if flips >> (at % 32) & 1 == 1 { c.to_ascii_uppercase() } else { c }
            };
            text.chars().enumerate().map(flip).collect()
        };
        for example in entry.examples {
            let rest = example.strip_prefix(entry.typed()).expect("begins with its command");
            let text = format!("{}{rest}", flipped(entry.typed()));
            prop_assert_eq!(told(&text), told(example));
        }
    }
}
