//! One printed line a measurement: figure, floor, ratio, target and verdict.
//!
//! Times are not stable from machine to machine, so that a target in milliseconds also has its ratio to the floor on the
//! machine where it was set, and either one meets it.

use crate::sample::Samples;

/// What a row counts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Unit {
    Seconds,
    PerSecond,
    Bytes,
    Count,
}

/// A promise about a row; a row may have several.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Limit {
    /// The median is at most so many floors.
    Floors(f64),
    /// The median is at least so many floors (rates).
    LeastFloors(f64),
    /// The median is at most this.
    Most(f64),
    /// The median is at most this, or at most so many floors.
    MostOr { most: f64, floors: f64 },
    /// The median is at most the floor and this.
    More(f64),
    /// The median is at most the floor and this, or at most so many floors.
    MoreOr { more: f64, floors: f64 },
    /// The 99th percentile is at most this, or at most so many floors.
    Tail { most: f64, floors: f64 },
}

/// One measurement.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    name: String,
    unit: Unit,
    samples: Samples,
    floor: Option<f64>,
    limits: Vec<Limit>,
}

impl Row {
    /// A row for information, until it gets a floor and limits.
    pub(crate) fn new(name: impl Into<String>, unit: Unit, samples: Samples) -> Self {
        Self {
            name: name.into(),
            unit,
            samples,
            floor: None,
            limits: Vec::new(),
        }
    }

    pub(crate) fn single(name: impl Into<String>, unit: Unit, value: f64) -> Self {
        Self::new(name, unit, [value].into_iter().collect())
    }

    pub(crate) fn floor(mut self, floor: f64) -> Self {
        self.floor = Some(floor);
        self
    }

    pub(crate) fn limit(mut self, limit: Limit) -> Self {
        self.limits.push(limit);
        self
    }

    /// Whether every promise is kept; `None` where there is none.
    pub(crate) fn verdict(&self) -> Option<bool> {
        (!self.limits.is_empty()).then(|| self.limits.iter().all(|limit| self.keeps(*limit)))
    }

    fn keeps(&self, limit: Limit) -> bool {
        let (median, p99) = (self.samples.median(), self.samples.p99());
        // A comparison with a floor that was not measured fails, as one with NaN does.
        let floor = self.floor.unwrap_or(f64::NAN);
        match limit {
            Limit::Floors(floors) => median <= floors * floor,
            Limit::LeastFloors(floors) => median >= floors * floor,
            Limit::Most(most) => median <= most,
            Limit::MostOr { most, floors } => median <= most || median <= floors * floor,
            Limit::More(more) => median <= floor + more,
            Limit::MoreOr { more, floors } => median <= floor + more || median <= floors * floor,
            Limit::Tail { most, floors } => p99 <= most || p99 <= floors * floor,
        }
    }

    fn cells(&self) -> [String; 7] {
        let none = || "-".to_owned();
        let median = self.samples.median();
        [
            self.name.clone(),
            figure(self.unit, median),
            if self.samples.len() > 1 {
                figure(self.unit, self.samples.p99())
            } else {
                none()
            },
            self.floor
                .map_or_else(none, |floor| figure(self.unit, floor)),
            self.floor
                .filter(|floor| *floor > 0.0)
                .map_or_else(none, |floor| format!("{:.2}", median / floor)),
            if self.limits.is_empty() {
                none()
            } else {
                let words: Vec<_> = self
                    .limits
                    .iter()
                    .map(|limit| words(self.unit, *limit))
                    .collect();
                words.join("; ")
            },
            match self.verdict() {
                None => none(),
                Some(true) => "ok".to_owned(),
                Some(false) => "over".to_owned(),
            },
        ]
    }
}

/// The rows of a section as aligned text with a line of headings.
pub(crate) fn render(rows: &[Row]) -> String {
    let heads = ["", "median", "p99", "floor", "ratio", "target", "verdict"].map(str::to_owned);
    let lines: Vec<[String; 7]> = std::iter::once(heads)
        .chain(rows.iter().map(Row::cells))
        .collect();
    let width = |column: usize| {
        lines
            .iter()
            .map(|cells| cells[column].chars().count())
            .max()
            .unwrap_or(0)
    };
    let widths: [usize; 7] = std::array::from_fn(width);
    let mut text = String::new();
    for cells in &lines {
        let padded = cells.iter().zip(widths).enumerate();
        let line: String = padded
            .map(|(column, (cell, width))| {
                let pad = " ".repeat(width - cell.chars().count());
                // Figures are flush right, words flush left.
                if (1..=4).contains(&column) {
                    format!("  {pad}{cell}")
                } else {
                    format!("  {cell}{pad}")
                }
            })
            .collect();
        text += line.trim_end();
        text.push('\n');
    }
    text
}

fn words(unit: Unit, limit: Limit) -> String {
    match limit {
        Limit::Floors(floors) => format!("≤ {floors} x"),
        Limit::LeastFloors(floors) => format!("≥ {floors} x"),
        Limit::Most(most) => format!("≤ {}", figure(unit, most)),
        Limit::MostOr { most, floors } => format!("≤ {} or {floors} x", figure(unit, most)),
        Limit::More(more) => format!("≤ floor + {}", figure(unit, more)),
        Limit::MoreOr { more, floors } => {
            format!("≤ floor + {} or {floors} x", figure(unit, more))
        }
        Limit::Tail { most, floors } => format!("p99 ≤ {} or {floors} x", figure(unit, most)),
    }
}

fn figure(unit: Unit, value: f64) -> String {
    let (value, word) = match unit {
        Unit::Seconds if value < 0.000_999_5 => (value * 1e6, "µs"),
        Unit::Seconds if value < 9.9995 => (value * 1e3, "ms"),
        Unit::Seconds => (value, "s"),
        Unit::PerSecond => return format!("{value:.0}/s"),
        Unit::Bytes if value < 1024.0 => return format!("{value:.0} B"),
        Unit::Bytes if value < 1024.0 * 1024.0 => (value / 1024.0, "KiB"),
        Unit::Bytes => (value / (1024.0 * 1024.0), "MiB"),
        Unit::Count => return format!("{value:.0}"),
    };
    match value {
        v if v < 9.995 => format!("{v:.2} {word}"),
        v if v < 99.95 => format!("{v:.1} {word}"),
        v => format!("{v:.0} {word}"),
    }
}

/// What `cargo test --benches` holds of this file.
pub(crate) fn check() {
    let row = |median: f64, limit: Limit| {
        Row::single("r", Unit::Seconds, median)
            .floor(0.001)
            .limit(limit)
            .verdict()
    };
    for (median, limit, expected) in [
        (0.003, Limit::Floors(3.0), true),
        (0.0031, Limit::Floors(3.0), false),
        (0.000_84, Limit::LeastFloors(0.85), false),
        (0.000_85, Limit::LeastFloors(0.85), true),
        (0.002, Limit::Most(0.001), false),
        (
            0.002,
            Limit::MostOr {
                most: 0.001,
                floors: 2.0,
            },
            true,
        ),
        (
            0.002,
            Limit::MostOr {
                most: 0.001,
                floors: 1.9,
            },
            false,
        ),
        (0.006, Limit::More(0.005), true),
        (0.0061, Limit::More(0.005), false),
        (
            0.0061,
            Limit::MoreOr {
                more: 0.005,
                floors: 7.0,
            },
            true,
        ),
        (
            0.02,
            Limit::Tail {
                most: 0.015,
                floors: 18.0,
            },
            false,
        ),
        (f64::NAN, Limit::Floors(3.0), false),
    ] {
        assert_eq!(row(median, limit), Some(expected), "{median} {limit:?}");
    }
    let without_floor = Row::single("r", Unit::Seconds, 0.0).limit(Limit::Floors(3.0));
    assert_eq!(
        without_floor.verdict(),
        Some(false),
        "a missing floor passes nothing"
    );
    for (unit, value, expected) in [
        (Unit::Seconds, 0.000_038, "38.0 µs"),
        (Unit::Seconds, 0.000_84, "840 µs"),
        (Unit::Seconds, 0.0025, "2.50 ms"),
        (Unit::Seconds, 0.211, "211 ms"),
        (Unit::Bytes, 100.0, "100 B"),
        (Unit::Bytes, 65536.0, "64.0 KiB"),
        (Unit::PerSecond, 21_000.4, "21000/s"),
    ] {
        assert_eq!(figure(unit, value), expected);
    }
    let table = render(&[Row::single("a", Unit::Count, 1.0).limit(Limit::Most(2.0))]);
    assert!(
        table.ends_with("  a       1    -      -      -  ≤ 2     ok\n"),
        "{table:?}"
    );
}
