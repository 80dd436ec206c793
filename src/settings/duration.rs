//! Times as people write them: `90s`, `15m`, `1h30m`.

use std::time::Duration;

/// The longest time that a setting can be: thirty days.
const LONGEST: Duration = Duration::from_hours(720);

/// Reads a time of whole numbers with the units `ms`, `s`, `m`, `h` and `d`, each at most once and from large to small.
/// From 1 ms to 30 days; `None` for anything else, also for a number without a unit.
pub fn parse_duration(text: &str) -> Option<Duration> {
    let mut rest = text.trim();
    let mut total = Duration::ZERO;
    let mut smallest = u64::MAX;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, after) = rest.split_at(digits);
        let letters = after
            .find(|char: char| char.is_ascii_digit() || char.is_whitespace())
            .unwrap_or(after.len());
        let (unit, after) = after.split_at(letters);
        let millis: u64 = match unit {
            "ms" => 1,
            "s" | "sec" => 1_000,
            "m" | "min" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return None,
        };
        if millis >= smallest {
            return None;
        }
        smallest = millis;
        let part = number.parse::<u64>().ok()?.checked_mul(millis)?;
        total = total.checked_add(Duration::from_millis(part))?;
        rest = after.trim_start();
    }
    (total > Duration::ZERO && total <= LONGEST).then_some(total)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn times_are_read_and_nonsense_is_refused() {
        for (text, expected) in [
            ("90s", Some(90_000)),
            ("15m", Some(900_000)),
            ("15min", Some(900_000)),
            ("1h", Some(3_600_000)),
            ("1h30m", Some(5_400_000)),
            (" 1h 30m ", Some(5_400_000)),
            ("250ms", Some(250)),
            ("30d", Some(2_592_000_000)),
            ("31d", None),
            ("0s", None),
            ("", None),
            ("15", None),
            ("m", None),
            ("-5m", None),
            ("1.5h", None),
            ("30m1h", None),
            ("1m1m", None),
            ("5 parsecs", None),
            ("99999999999999999999s", None),
            ("18446744073709551615d", None),
        ] {
            assert_eq!(
                parse_duration(text),
                expected.map(Duration::from_millis),
                "{text:?}"
            );
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "\\PC*") {
            let _ = parse_duration(&text);
        }
    }
}
