//! Numbers that would come back as others: more digits than 64 bits hold. What a file says is kept or refused, never
//! rounded in silence. (Another spelling of the same number, `1.10` for `1.1`, is no loss.)

use serde_json::Number;

/// The first number in a JSON text that cannot be kept, with its line from 1. The text has parsed.
pub(super) fn lost(text: &str) -> Option<(usize, &str)> {
    let bytes = text.as_bytes();
    let (mut at, mut line) = (0, 1);
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'\n' => line += 1,
            b'"' => at = end_of_text(bytes, at),
            b'-' | b'0'..=b'9' => {
                let rest = &bytes[at..];
                let part = |byte: &u8| byte.is_ascii_alphanumeric() || b"+-.".contains(byte);
                let length = rest.iter().take_while(|byte| part(byte)).count();
                let number = &text[at..at + length];
                if !is_kept(number) {
                    return Some((line, number));
                }
                at += length;
                continue;
            }
            _ => {}
        }
        at += 1;
    }
    None
}

/// The place of the quote that closes a text, which has no line end in it.
fn end_of_text(bytes: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'\\' => at += 2,
            b'"' => return at,
            _ => at += 1,
        }
    }
    at
}

fn is_kept(number: &str) -> bool {
    let kept = serde_json::from_str::<Number>(number);
    kept.is_ok_and(|kept| value_of(&kept.to_string()) == value_of(number))
}

/// A number as its digits without zeros at either end, and the power of ten of the last of them.
fn value_of(number: &str) -> (bool, String, i64) {
    let (mantissa, exponent) = match number.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse().unwrap_or(i64::MAX)),
        None => (number, 0_i64),
    };
    let (negative, mantissa) = match mantissa.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, mantissa),
    };
    let (whole, part) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{whole}{part}");
    let digits = digits.trim_start_matches('0');
    let short = digits.trim_end_matches('0');
    if short.is_empty() {
        return (false, String::new(), 0);
    }
    let places = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
    let power = exponent
        .saturating_sub(places(part.len()))
        .saturating_add(places(digits.len() - short.len()));
    (negative, short.to_owned(), power)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_kept_or_named() {
        for kept in [
            "0",
            "-0",
            "1",
            "-7",
            "1.10",
            "1e3",
            "1E+3",
            "0.1",
            "1.5e-9",
            "123456789.123456",
            "18446744073709551615",
            "-9223372036854775808",
            "1e400000",
            "0e99",
        ] {
            let is_fine = kept != "1e400000";
            assert_eq!(is_kept(kept), is_fine, "{kept}");
        }
        for lost in [
            "18446744073709551616",
            "123456789012345678901234567890",
            "0.1234567890123456789012345",
            "1.00000000000000000001",
        ] {
            assert!(!is_kept(lost), "{lost}");
        }
    }

    #[test]
    fn it_is_found_in_its_line_and_not_in_texts() {
        let text =
            "{\"a 99999999999999999999999 \\\" 1\": 1,\n \"b\": [2.5, 99999999999999999999999]}";
        assert_eq!(lost(text), Some((2, "99999999999999999999999")));
        assert_eq!(lost(r#"{"a": "99999999999999999999999", "b": -1.5}"#), None);
    }
}
