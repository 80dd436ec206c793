//! Many measurements of one thing, and what is told of them.

use std::time::Duration;

/// Measurements in seconds, bytes or whatever the row says.
#[derive(Debug, Clone, Default)]
pub(crate) struct Samples(Vec<f64>);

impl Samples {
    pub(crate) const fn new() -> Self {
        Self(Vec::new())
    }

    pub(crate) fn add(&mut self, took: Duration) {
        self.0.push(took.as_secs_f64());
    }

    pub(crate) fn add_value(&mut self, value: f64) {
        self.0.push(value);
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// The middle one; of an even count the mean of the two in the middle.
    pub(crate) fn median(&self) -> f64 {
        let sorted = self.sorted();
        match sorted.len() {
            0 => f64::NAN,
            n if n % 2 == 1 => sorted[n / 2],
            n => f64::midpoint(sorted[n / 2 - 1], sorted[n / 2]),
        }
    }

    /// The smallest measurement that at least 99 in 100 do not pass; with fewer than 100 that is the largest.
    pub(crate) fn p99(&self) -> f64 {
        let sorted = self.sorted();
        let place = (sorted.len() * 99).div_ceil(100).saturating_sub(1);
        sorted.get(place).copied().unwrap_or(f64::NAN)
    }

    fn sorted(&self) -> Vec<f64> {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        sorted
    }
}

impl FromIterator<f64> for Samples {
    fn from_iter<I: IntoIterator<Item = f64>>(values: I) -> Self {
        Self(values.into_iter().collect())
    }
}

/// What `cargo test --benches` holds of this file.
pub(crate) fn check() {
    let hundred: Samples = (1..=200).rev().map(f64::from).collect();
    assert_eq!((hundred.median(), hundred.p99()), (100.5, 198.0));
    let few: Samples = [3.0, 1.0, 2.0].into_iter().collect();
    assert_eq!((few.median(), few.p99(), few.len()), (2.0, 3.0, 3));
    assert!(Samples::default().median().is_nan() && Samples::default().p99().is_nan());
}
