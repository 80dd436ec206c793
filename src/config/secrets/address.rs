//! Secrets in an address (RFC 3986): which parts of its path and which values of its query are kept elsewhere.
//!
//! A part is taken whole: half of a key that stays, because a character of it divides words elsewhere, is a key that stays.

use std::ops::Range;

use super::super::SecretName;
use super::super::limits::VALUE_BYTES;
use super::named::percent_decoded;
use super::{around_placeholders, is_reference, is_secret_name, look, merged};

/// Names of values that are keys in an address, and ordinary words elsewhere: function keys, signed links.
const SECRET_VALUES: [&str; 3] = ["code", "sig", "signature"];

/// The secret parts of an address, each with the name that the query gives it, else none. Nothing of the scheme, the host and
/// the port; a login before the host is none of this, since no address may have one.
pub fn secrets_in_address(url: &str) -> Vec<(Range<usize>, String)> {
    if url.len() > VALUE_BYTES {
        return Vec::new();
    }
    let path = path_at(url);
    let query = place_of(url, path, '?').min(place_of(url, path, '#'));
    let seen = look(url);
    let mut found: Vec<(Range<usize>, String)> = Vec::new();
    for run in secret_runs(&segments(url, path..query), &seen) {
        found.push((run, String::new()));
    }
    for chunk in pieces(url, query..url.len(), &['?', '&', '#']) {
        found.extend(secret_value(url, chunk, &seen));
    }
    let whole = found.into_iter().flat_map(|(part, name)| {
        let parts = around_placeholders(url, vec![part]);
        parts.into_iter().map(move |part| (part, name.clone()))
    });
    whole.collect()
}

/// The address with the secrets that it names in their places. They stand there as they were given, so that one that was
/// taken out of an address comes back to the letter; what would end the path or the query early does not. A name that has no
/// value here stays.
pub fn address_with<'a>(
    address: &str,
    value_of: impl Fn(&SecretName) -> Option<&'a str>,
) -> String {
    let mut filled = String::with_capacity(address.len());
    let mut from = 0;
    for (place, name) in SecretName::all_in(address) {
        let Some(value) = value_of(&name) else {
            continue;
        };
        filled.push_str(&address[from..place.start]);
        let carried = value.trim().replace('#', "%23");
        filled.push_str(&carried.replace('\\', "%5C"));
        from = place.end;
    }
    filled.push_str(&address[from..]);
    filled
}

/// What looks like a secret in an address, for masking; never a host's port, which only happens to stand beside a path.
pub(super) fn masked(url: &str, found: Vec<Range<usize>>) -> Vec<Range<usize>> {
    let path = path_at(url);
    let query = place_of(url, path, '?').min(place_of(url, path, '#'));
    let segments = segments(url, path..query);
    let clipped = found.into_iter().filter_map(|span| {
        if span.start >= path || span.end <= path || !url[..span.start].ends_with(':') {
            return Some(span);
        }
        let rest = path + 1..span.end;
        let is_told = segments
            .iter()
            .any(|(segment, is_secret)| *is_secret && overlap(segment, &rest));
        (!is_told && !rest.is_empty()).then_some(rest)
    });
    let whole = secrets_in_address(url).into_iter().map(|(part, _)| part);
    merged(clipped.chain(whole).collect())
}

/// The parts of a path, each with whether it is secret by itself.
fn segments(url: &str, path: Range<usize>) -> Vec<(Range<usize>, bool)> {
    let each = pieces(url, path, &['/']);
    each.map(|segment| (segment.clone(), !look(&url[segment]).is_empty()))
        .collect()
}

/// The parts that are secret, and those of a run that is so only as a whole, as one.
fn secret_runs(segments: &[(Range<usize>, bool)], seen: &[Range<usize>]) -> Vec<Range<usize>> {
    let alone = segments.iter().filter(|(_, is_secret)| *is_secret);
    let mut runs: Vec<Range<usize>> = alone.map(|(segment, _)| segment.clone()).collect();
    for span in seen {
        let touched = || {
            segments
                .iter()
                .filter(|(segment, _)| overlap(segment, span))
        };
        if touched().any(|(_, is_secret)| *is_secret) {
            continue;
        }
        if let (Some((first, _)), Some((last, _))) = (touched().next(), touched().next_back()) {
            runs.push(first.start..last.end);
        }
    }
    merged(runs)
}

/// The value of a query's piece that is secret, to the end of the piece: what may divide it may as well belong to it.
fn secret_value(
    url: &str,
    chunk: Range<usize>,
    seen: &[Range<usize>],
) -> Option<(Range<usize>, String)> {
    let mut start = chunk.start;
    for pair in url[chunk.clone()].split(';') {
        let (from, end) = (start, start + pair.len());
        start = end + 1;
        let (name, value) = pair.split_once('=').unwrap_or(("", pair));
        if value.is_empty() || is_reference(value) {
            continue;
        }
        let value = end - value.len()..end;
        let decoded = percent_decoded(name);
        let is_named = is_secret_name(&decoded)
            || SECRET_VALUES
                .iter()
                .any(|known| decoded.eq_ignore_ascii_case(known));
        if !look(name).is_empty() {
            // A key where a name is expected.
            return Some((from..chunk.end, String::new()));
        }
        let is_seen = || seen.iter().any(|span| overlap(span, &value));
        if is_named || !look(&url[value.clone()]).is_empty() || is_seen() {
            return Some((value.start..chunk.end, decoded));
        }
    }
    None
}

/// Whether a text is one address and nothing else.
pub(super) fn is_one(text: &str) -> bool {
    let scheme = text.get(..8).unwrap_or(text).to_ascii_lowercase();
    text.len() <= VALUE_BYTES
        && (scheme.starts_with("http://") || scheme.starts_with("https://"))
        && !text.contains(|c: char| c.is_whitespace() || "\"'<>`".contains(c))
}

/// Where the path begins, or what stands in its place.
fn path_at(url: &str) -> usize {
    let host = url.find("://").map_or(0, |at| at + 3);
    place_of(url, host, '/')
        .min(place_of(url, host, '?'))
        .min(place_of(url, host, '#'))
}

fn place_of(url: &str, from: usize, c: char) -> usize {
    url[from..].find(c).map_or(url.len(), |at| from + at)
}

fn pieces<'a>(
    url: &'a str,
    within: Range<usize>,
    at: &'a [char],
) -> impl Iterator<Item = Range<usize>> + 'a {
    let mut start = within.start;
    url[within].split(at).map(move |piece| {
        let range = start..start + piece.len();
        start = range.end + 1;
        range
    })
}

fn overlap(one: &Range<usize>, other: &Range<usize>) -> bool {
    one.start < other.end && other.start < one.end
}

#[cfg(test)]
mod tests {
    use super::super::super::{SecretName, masked_url, secrets_in_address};

    const KEY: &str = "cVGROoX9YE17swJaevAszj0O";

    #[test]
    fn the_parts_of_an_address_that_are_secret_are_taken_whole() {
        for (url, found) in [
            ("https://hub.example/mcp", &[][..]),
            ("https://hub.example/mcp?page=2&lang=en", &[]),
            ("https://hub.example/mcp?apiKey=KEY", &[("KEY", "apiKey")]),
            (
                "https://hub.example/mcp/?lang=en&token=KEY&x=1",
                &[("KEY", "token")],
            ),
            ("https://hub.example/s/KEY/mcp", &[("KEY", "")]),
            ("https://hub.example:8443/s/KEY/mcp", &[("KEY", "")]),
            ("http://127.0.0.1:9301/mcp/KEY", &[("KEY", "")]),
            (
                "https://hub.example/KEY?key=hush",
                &[("KEY", ""), ("hush", "key")],
            ),
            ("https://hub.example/mcp?apiKey=${secret:HUB}", &[]),
            ("https://hub.example/a/${secret:HUB}/mcp?lang=en", &[]),
            ("https://KEY.hub.example", &[]),
            // Characters that divide words elsewhere.
            (
                "https://hub.example/?key=g6x,KG;b4~B8.K&x=1",
                &[("g6x,KG;b4~B8.K", "key")],
            ),
            ("https://hub.example/?x=1;key=a;b", &[("a;b", "key")]),
            (
                "https://hub.example/?token=x&code=Ab==",
                &[("x", "token"), ("Ab==", "code")],
            ),
            ("https://hub.example/?%74oken=a&b=c", &[("a", "token")]),
            ("https://hub.example/v1.KEY!x/mcp", &[("v1.KEY!x", "")]),
            // Not where it belongs.
            ("https://hub.example/?KEY=1&a=b", &[("KEY=1", "")]),
            ("https://hub.example/?KEY", &[("KEY", "")]),
            (
                "https://hub.example/mcp#access_token=KEY",
                &[("KEY", "access_token")],
            ),
            ("https://hub.example", &[]),
            ("no address", &[]),
        ] {
            let url = url.replace("KEY", KEY);
            let parts = secrets_in_address(&url);
            let told: Vec<(String, &str)> = parts
                .iter()
                .map(|(part, name)| (url[part.clone()].replace(KEY, "KEY"), name.as_str()))
                .collect();
            let told: Vec<(&str, &str)> =
                told.iter().map(|(part, name)| (&**part, *name)).collect();
            assert_eq!(told, found, "{url}");
            // What was taken out is all that would be masked.
            let mut sealed = url.clone();
            for (nth, (part, _)) in parts.iter().enumerate().rev() {
                sealed.replace_range(part.clone(), &format!("${{secret:K{nth}}}"));
            }
            assert!(secrets_in_address(&sealed).is_empty(), "{sealed}");
            if !url.contains(&format!("://{KEY}")) {
                assert_eq!(
                    masked_url(&sealed).matches(super::super::MASK).count(),
                    0,
                    "{sealed}"
                );
            }
        }
    }

    #[test]
    fn secrets_come_back_to_the_letter_and_end_nothing_early() {
        for (address, value, filled) in [
            (
                "https://h/mcp?k=${secret:A}&x=1",
                " a%2Bb/c= \n",
                "https://h/mcp?k=a%2Bb/c=&x=1",
            ),
            ("https://h/${secret:A}/${secret:A}", "a", "https://h/a/a"),
            (
                "https://h/${secret:A}/mcp",
                r"a#b\c",
                "https://h/a%23b%5Cc/mcp",
            ),
            (
                "https://h/${secret:B}/mcp",
                "a",
                "https://h/${secret:B}/mcp",
            ),
        ] {
            let value_of = |name: &SecretName| (name.as_str() == "A").then_some(value);
            assert_eq!(super::address_with(address, value_of), filled);
        }
    }

    #[test]
    fn a_port_is_shown() {
        for (url, shown) in [
            (
                "http://127.0.0.1:9301/mcp/KEY",
                "http://127.0.0.1:9301/mcp/••••",
            ),
            (
                "https://u:hush@h.example:8443/KEY",
                "https://u:••••@h.example:8443/••••",
            ),
        ] {
            assert_eq!(masked_url(&url.replace("KEY", KEY)), shown);
        }
    }
}
