//! Where any of many patterns stands in a text: built in the time it takes to sort them, with little memory of its own.
//!
//! A pattern is found as a whole or not at all, and however the patterns are made, a text costs little more than its
//! length: short ones are looked up in a sorted list, and long ones are looked for only where a text has their head.

use std::collections::HashMap;
use std::ops::Range;

/// Every pattern is at least as long.
pub(super) const SHORTEST: usize = 6;

/// Longer ones are told by their head first.
const LONG: usize = 512;
const HEAD: usize = 64;

/// Bits of the filter that passes over most places of a text.
const FILTER_BITS: usize = 1 << 16;

/// Finds patterns in texts.
#[derive(Clone, Default)]
pub(super) struct Finder {
    short: Sorted,
    heads: Sorted,
    /// The long ones with each head.
    long: HashMap<String, Vec<String>>,
    longest: usize,
}

impl Finder {
    /// Shorter patterns than [`SHORTEST`] are left out.
    pub(super) fn new(mut patterns: Vec<String>) -> Self {
        patterns.retain(|pattern| pattern.len() >= SHORTEST);
        let longest = patterns.iter().map(String::len).max().unwrap_or(0);
        let (short, rest): (Vec<_>, Vec<_>) = patterns
            .into_iter()
            .partition(|pattern| pattern.len() <= LONG);
        let mut long: HashMap<String, Vec<String>> = HashMap::new();
        for pattern in rest {
            let head = &pattern[..pattern.floor_char_boundary(HEAD)];
            long.entry(head.to_owned()).or_default().push(pattern);
        }
        for patterns in long.values_mut() {
            patterns.sort_unstable();
            patterns.dedup();
        }
        Self {
            short: Sorted::new(short),
            heads: Sorted::new(long.keys().cloned().collect()),
            long,
            longest,
        }
    }

    /// Bytes of the longest pattern.
    pub(super) const fn longest(&self) -> usize {
        self.longest
    }

    pub(super) fn patterns(&self) -> impl Iterator<Item = &String> {
        let long = self.long.values().flatten();
        self.short.patterns.iter().chain(long)
    }

    /// Where patterns stand in the text: of those that begin at one place the longest.
    pub(super) fn find(&self, text: &str) -> Vec<Range<usize>> {
        let mut found = Vec::new();
        self.short.find(text, |at, nth| {
            found.push(at..at + self.short.patterns[nth].len());
        });
        if self.long.is_empty() || text.len() <= LONG {
            return found;
        }
        let mut seen = vec![false; self.heads.patterns.len()];
        self.heads.find(text, |_, nth| {
            // A head may be the beginning of another one (where a character lies across the limit).
            let mut nth = Some(nth);
            while let Some(at) = nth.filter(|at| !seen[*at]) {
                seen[at] = true;
                nth = self.heads.within(at);
            }
        });
        let seen = self.heads.patterns.iter().zip(seen);
        for (head, _) in seen.filter(|(_, seen)| *seen) {
            for pattern in self.long.get(head).into_iter().flatten() {
                let hits = text.match_indices(pattern.as_str());
                found.extend(hits.map(|(at, hit)| at..at + hit.len()));
            }
        }
        found
    }
}

/// Short patterns in order.
#[derive(Clone, Default)]
struct Sorted {
    patterns: Vec<String>,
    /// The longest other pattern that each begins with.
    within: Vec<Option<u32>>,
    /// Which first bytes there are; empty without patterns.
    filter: Vec<u64>,
}

impl Sorted {
    fn new(mut patterns: Vec<String>) -> Self {
        patterns.sort_unstable();
        patterns.dedup();
        let mut within: Vec<Option<u32>> = Vec::with_capacity(patterns.len());
        let mut filter = Vec::new();
        if !patterns.is_empty() {
            filter.resize(FILTER_BITS / 64, 0);
        }
        for (nth, pattern) in patterns.iter().enumerate() {
            // What one begins with is the one before it or among those that one begins with.
            let mut before = nth.checked_sub(1);
            while let Some(at) = before.filter(|at| !pattern.starts_with(&patterns[*at])) {
                before = within[at].map(|at| at as usize);
            }
            within.push(before.and_then(|at| u32::try_from(at).ok()));
            let bit = bit(pattern.as_bytes());
            filter[bit / 64] |= 1 << (bit % 64);
        }
        Self {
            patterns,
            within,
            filter,
        }
    }

    fn within(&self, nth: usize) -> Option<usize> {
        self.within[nth].map(|at| at as usize)
    }

    /// Tells for each place in the text the longest pattern that begins there.
    fn find(&self, text: &str, mut tell: impl FnMut(usize, usize)) {
        if self.patterns.is_empty() {
            return;
        }
        let text = text.as_bytes();
        for at in 0..(text.len() + 1).saturating_sub(SHORTEST) {
            let rest = &text[at..];
            let bit = bit(rest);
            if self.filter[bit / 64] & (1 << (bit % 64)) != 0
                && let Some(nth) = self.at_start(rest)
            {
                tell(at, nth);
            }
        }
    }

    /// The longest pattern that the text begins with: every such one begins the last pattern that is not after the text.
    fn at_start(&self, text: &[u8]) -> Option<usize> {
        let after = self.patterns.partition_point(|p| p.as_bytes() <= text);
        let mut nth = after.checked_sub(1)?;
        let last = self.patterns[nth].as_bytes();
        let same = last.iter().zip(text).take_while(|(a, b)| a == b).count();
        while self.patterns[nth].len() > same {
            nth = self.within(nth)?;
        }
        Some(nth)
    }
}

fn bit(text: &[u8]) -> usize {
    let first = text.iter().take(SHORTEST);
    let sum = first.fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte));
    // The upper bits of a product depend on all of its factors' bits.
    (sum.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 48) as usize % FILTER_BITS
}

#[cfg(test)]
#[allow(clippy::single_range_in_vec_init, reason = "they are ranges")]
mod tests {
    use super::super::super::secrets::merged;
    use super::*;
    use proptest::prelude::*;

    fn one_by_one(patterns: &[String], text: &str) -> Vec<Range<usize>> {
        let mut found = Vec::new();
        for at in text.char_indices().map(|(at, _)| at) {
            let hits = patterns.iter().filter(|p| text[at..].starts_with(*p));
            found.extend(hits.map(|p| at..at + p.len()));
        }
        merged(found)
    }

    proptest! {
        #[test]
        fn what_is_found_is_what_stands_there(
            patterns in prop::collection::vec("[abä]{6,9}|(ab){3,5}c?|(aab|ä){200,220}c{0,300}", 0..20),
            text in "[abcä]{0,60}|(ab|aab|c|ä){0,900}",
            some in any::<prop::sample::Index>(),
        ) {
            let mut patterns = patterns;
            patterns.retain(|pattern| pattern.len() >= SHORTEST);
            let inside = patterns.get(some.index(patterns.len().max(1))).cloned().unwrap_or_default();
            let finder = Finder::new(patterns.clone());
            let text = format!("{text}{inside}{text}");
            // One that overlaps itself may be found less often.
            let (found, all) = (merged(finder.find(&text)), one_by_one(&patterns, &text));
            let first = |all: &[Range<usize>]| all.first().map(|range| range.start);
            prop_assert_eq!(first(&found), first(&all));
            if patterns.iter().all(|pattern| pattern.len() <= LONG) {
                prop_assert_eq!(found, all);
            }
        }
    }

    #[test]
    fn long_ones_are_found_whole_or_not_at_all() {
        let long = |end: &str| format!("{}{end}", "0123456789".repeat(100));
        let finder = Finder::new(vec![long("one"), long("other"), "ä".repeat(600)]);
        assert_eq!(finder.longest(), 1200);
        for (text, found) in [
            (long("one"), vec![0..1003]),
            (format!("x{}{}", long("other"), long("on")), vec![1..1006]),
            ("ä".repeat(599), vec![]),
            (format!("a{}", "ä".repeat(600)), vec![1..1201]),
        ] {
            assert_eq!(finder.find(&text), found, "{text}");
        }
    }
}
