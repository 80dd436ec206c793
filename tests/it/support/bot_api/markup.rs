//! Telegram's HTML mode, read strictly.

/// The text without marks, or why Telegram would refuse it.
pub(crate) fn parse(html: &str) -> Result<String, String> {
    let mut plain = String::new();
    let mut open: Vec<&str> = Vec::new();
    let mut rest = html;
    while let Some(c) = rest.chars().next() {
        match c {
            '<' => {
                let (tag, after) = rest[1..]
                    .split_once('>')
                    .ok_or_else(|| "can't parse entities: unclosed start tag".to_owned())?;
                rest = after;
                if let Some(name) = tag.strip_prefix('/') {
                    match open.pop() {
                        Some(top) if top == name => {}
                        top => {
                            return Err(format!(
                                "can't parse entities: unmatched end tag \"{name}\" where {top:?} is open"
                            ));
                        }
                    }
                } else {
                    open.push(opening(tag, &open)?);
                }
            }
            '>' => return Err("can't parse entities: a bare >".to_owned()),
            '&' => {
                let (name, after) = rest[1..]
                    .split_once(';')
                    .ok_or_else(|| "can't parse entities: a bare &".to_owned())?;
                plain.push(match name {
                    "lt" => '<',
                    "gt" => '>',
                    "amp" => '&',
                    "quot" => '"',
                    other => return Err(format!("can't parse entities: unknown entity &{other};")),
                });
                rest = after;
            }
            other => {
                plain.push(other);
                rest = &rest[other.len_utf8()..];
            }
        }
    }
    match open.pop() {
        Some(tag) => Err(format!(
            "can't parse entities: can't find end tag corresponding to start tag \"{tag}\""
        )),
        None => Ok(plain),
    }
}

fn opening<'a>(tag: &'a str, open: &[&str]) -> Result<&'a str, String> {
    const PLAIN: [&str; 11] = [
        "b", "strong", "i", "em", "u", "ins", "s", "strike", "del", "code", "pre",
    ];
    let refused = |why: &str| Err(format!("can't parse entities: {why} \"{tag}\""));
    let (name, attributes) = tag.split_once(' ').unwrap_or((tag, ""));
    let inside = open.last().copied();
    if inside == Some("code") || (inside == Some("pre") && name != "code") {
        return refused("a tag inside verbatim text");
    }
    match (name, attributes) {
        (name, "") if PLAIN.contains(&name) => Ok(name),
        ("blockquote" | "tg-spoiler", "") => Ok(name),
        ("code", language)
            if inside == Some("pre")
                && language.starts_with("class=\"language-")
                && language.len() > "class=\"language-\"".len()
                && language.ends_with('"') =>
        {
            Ok(name)
        }
        ("a", href) if href.starts_with("href=\"") && href.ends_with('"') => Ok(name),
        _ => refused("unsupported start tag"),
    }
}

/// The length of a text as Telegram counts it.
pub(crate) fn units(text: &str) -> usize {
    text.encode_utf16().count()
}

#[test]
fn marks_are_read_strictly() {
    let cases = [
        ("a <b>b</b> &lt;c&gt; &amp; &quot;", Ok("a b <c> & \"")),
        (
            "<pre><code class=\"language-diff\">+a\n-b</code></pre>",
            Ok("+a\n-b"),
        ),
        ("<b>open", Err(())),
        ("<b><i>crossed</b></i>", Err(())),
        ("<script>x</script>", Err(())),
        ("fish & chips", Err(())),
        ("fish &nbsp; chips", Err(())),
        ("1 < 2", Err(())),
        ("<code><b>x</b></code>", Err(())),
        ("closed</b>", Err(())),
        ("<code class=\"language-x\">not in pre</code>", Err(())),
    ];
    for (html, expected) in cases {
        assert_eq!(
            parse(html).map_err(drop),
            expected.map(str::to_owned),
            "{html}"
        );
    }
}
