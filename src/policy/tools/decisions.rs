//! What a thread decided of one server's tools, and what follows from it for a tool and for a call.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::super::glob::matches;
use super::Pin;

/// The longest time for which calls are allowed at once, in milliseconds.
const LONGEST_MS: i64 = 60 * 60 * 1000;

/// Patterns of a kind that a server may have.
const PATTERNS: usize = 100;
/// Tools of a server that are remembered; of one that ever lists others the old ones go first.
const TOOLS: usize = 256;
/// Bytes of a definition that are kept for showing a difference, and of all of a server.
const DEFINITION_BYTES: usize = 16 * 1024;
const DEFINITIONS_BYTES: usize = 64 * 1024;

/// What holds for one tool.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ruling {
    /// It is listed and can be called.
    #[default]
    On,
    /// It looks risky, and nobody allowed it yet.
    Risky,
    /// Somebody denied it.
    Denied,
    /// Its definition is not the one that was pinned; its difference must be approved first.
    Changed,
    /// What was decided cannot be read.
    Unknown,
}

/// Whether a call of a tool that is on is made at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// It is.
    Always,
    /// Somebody who configures here is asked first, whoever wants it.
    Ask,
    /// It is not made at all.
    Never,
}

impl Mode {
    /// As it is typed.
    pub fn word(self) -> &'static str {
        match self {
            Self::Always => "always",
            Self::Ask => "ask",
            Self::Never => "never",
        }
    }

    /// As it was typed.
    pub fn read(word: &str) -> Option<Self> {
        let all = [Self::Always, Self::Ask, Self::Never];
        all.into_iter()
            .find(|mode| mode.word().eq_ignore_ascii_case(word))
    }
}

/// What becomes of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is made.
    Go,
    /// Somebody who configures here is asked.
    Ask,
    /// It is not made.
    Refuse,
}

/// A tool as a server lists it now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen<'a> {
    /// Its name.
    pub name: &'a str,
    /// The pin of its definition.
    pub pin: Pin,
    /// It looks risky.
    pub is_risky: bool,
}

/// What a thread decided of one server's tools. Begins empty, and is bounded in every part.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ToolDecisions {
    /// Stands for what the server runs or where it is. Decided for one program, said of another: that counts no more.
    of: String,
    /// The tools that were seen.
    tools: BTreeMap<String, Pinned>,
    /// Patterns of risky tools that are on.
    allow: Vec<String>,
    /// Patterns of tools that are off, whatever else is said.
    deny: Vec<String>,
    /// How calls are made, by tool.
    modes: BTreeMap<String, Chosen>,
    /// What was decided before cannot be read any more: every tool starts off.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    lost: bool,
}

/// What people said of one server's tools at one moment.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Said {
    of: String,
    allow: Vec<String>,
    deny: Vec<String>,
    modes: BTreeMap<String, Chosen>,
}

/// A tool as it was seen first, or approved last.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Pinned {
    pin: Pin,
    /// For showing the difference; `None` where there was no room for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    definition: Option<String>,
}

/// A mode, and an hour without questions; both bound to a definition.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Chosen {
    pin: Pin,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    mode: Option<Mode>,
    /// Milliseconds since the epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    until_ms: Option<i64>,
}

impl ToolDecisions {
    /// Where what was decided before was lost: careful with everything.
    pub fn lost() -> Self {
        Self {
            lost: true,
            ..Self::default()
        }
    }

    /// What was allowed for one program and counts no more once the server is another one: patterns, and tools of which
    /// calls are made without a question. `now` and `next` stand for what the server runs, before and after.
    pub fn lost_by(&self, now: &str, next: &str) -> Vec<&str> {
        if self.of != now || now == next {
            return Vec::new();
        }
        let modes = self.modes.iter();
        let always = modes.filter(|(_, chosen)| chosen.mode == Some(Mode::Always));
        let mut lost: Vec<&str> = self.allow.iter().map(String::as_str).collect();
        lost.extend(always.map(|(tool, _)| tool.as_str()));
        lost.sort_unstable();
        lost.dedup();
        lost
    }

    /// A ruling for each tool that a server lists, in their order. What was never seen is pinned by this; `definition`
    /// gives a tool's definition, for people.
    pub fn see(
        &mut self,
        of: &str,
        tools: &[Seen<'_>],
        definition: impl Fn(usize) -> String,
    ) -> Vec<Ruling> {
        if self.of != of {
            // Another program or place: what was denied stays denied, nothing else was said of it.
            *self = Self {
                of: of.to_owned(),
                deny: std::mem::take(&mut self.deny),
                lost: self.lost,
                ..Self::default()
            };
        }
        self.make_room(tools);
        for (place, tool) in tools.iter().enumerate() {
            if !self.tools.contains_key(tool.name) && self.tools.len() < TOOLS {
                let pinned = self.pinned(tool.pin, definition(place));
                self.tools.insert(tool.name.to_owned(), pinned);
            }
        }
        tools.iter().map(|tool| self.ruling(tool)).collect()
    }

    /// What holds for a tool.
    pub fn ruling(&self, tool: &Seen<'_>) -> Ruling {
        let pinned = self.tools.get(tool.name).map(|pinned| pinned.pin);
        if self.denies(tool.name).is_some() {
            Ruling::Denied
        } else if pinned != Some(tool.pin) {
            Ruling::Changed
        } else if (tool.is_risky || self.lost) && self.allows(tool.name).is_none() {
            Ruling::Risky
        } else {
            Ruling::On
        }
    }

    /// What becomes of a call of a tool that is on.
    pub fn judge(&self, tool: &Seen<'_>, now_ms: i64) -> Verdict {
        let chosen = self.modes.get(tool.name);
        match self.mode(tool) {
            Mode::Never => Verdict::Refuse,
            Mode::Always => Verdict::Go,
            Mode::Ask => {
                let open = chosen
                    .filter(|chosen| chosen.pin == tool.pin)
                    .and_then(|chosen| chosen.until_ms);
                // Never longer than was meant, also where the clock was set back meanwhile.
                let left = open.map(|until| until.saturating_sub(now_ms));
                if left.is_some_and(|left| (1..=LONGEST_MS).contains(&left)) {
                    Verdict::Go
                } else {
                    Verdict::Ask
                }
            }
        }
    }

    /// How calls of a tool are made: as somebody chose; else what is risky asks. "Always" is said of a definition, and
    /// says nothing of another one.
    pub fn mode(&self, tool: &Seen<'_>) -> Mode {
        let chosen = self.modes.get(tool.name);
        match chosen.and_then(|chosen| Some((chosen.mode?, chosen.pin == tool.pin))) {
            Some((mode @ (Mode::Ask | Mode::Never), _) | (mode, true)) => mode,
            Some((Mode::Always, false)) => Mode::Ask,
            None if tool.is_risky || self.lost => Mode::Ask,
            None => Mode::Always,
        }
    }

    /// The pattern that denies a tool.
    pub fn denies(&self, tool: &str) -> Option<&str> {
        first(&self.deny, tool)
    }

    /// The pattern that allows a tool.
    pub fn allows(&self, tool: &str) -> Option<&str> {
        first(&self.allow, tool)
    }

    /// The definition that was pinned, for people; `None` where it was not kept.
    pub fn definition(&self, tool: &str) -> Option<&str> {
        self.tools.get(tool)?.definition.as_deref()
    }

    /// Allows what matches; the same pattern denies nothing any more. `false` where there are too many patterns.
    pub fn allow(&mut self, pattern: &str) -> bool {
        turn(&mut self.deny, &mut self.allow, pattern)
    }

    /// Denies what matches.
    pub fn deny(&mut self, pattern: &str) -> bool {
        turn(&mut self.allow, &mut self.deny, pattern)
    }

    /// A changed definition counts from now on.
    pub fn approve(&mut self, tool: &str, pin: Pin, definition: String) {
        self.tools.remove(tool);
        let pinned = self.pinned(pin, definition);
        self.tools.insert(tool.to_owned(), pinned);
    }

    /// How calls of a tool are made from now on.
    pub fn choose(&mut self, tool: &str, pin: Pin, mode: Mode) {
        self.chosen(tool, pin).mode = Some(mode);
    }

    /// Until then calls of a tool are made without a question.
    pub fn open_until(&mut self, tool: &str, pin: Pin, until_ms: i64) {
        self.chosen(tool, pin).until_ms = Some(until_ms);
    }

    /// What people said, without what was seen.
    pub fn said(&self) -> Said {
        Said {
            of: self.of.clone(),
            allow: self.allow.clone(),
            deny: self.deny.clone(),
            modes: self.modes.clone(),
        }
    }

    /// What people said is as it was before, if it still is what it was after; what was pinned stays.
    pub fn take_back(&mut self, before: &Said, after: &Said) -> bool {
        let is_so = self.said() == *after;
        if is_so {
            self.allow.clone_from(&before.allow);
            self.deny.clone_from(&before.deny);
            self.modes.clone_from(&before.modes);
        }
        is_so
    }

    fn chosen(&mut self, tool: &str, pin: Pin) -> &mut Chosen {
        let none = Chosen {
            pin,
            mode: None,
            until_ms: None,
        };
        let chosen = self.modes.entry(tool.to_owned()).or_insert(none);
        if chosen.pin != pin {
            // What was said of the former definition ends here, but that it is never called.
            chosen.pin = pin;
            chosen.until_ms = None;
            chosen.mode = chosen.mode.filter(|mode| *mode != Mode::Always);
        }
        chosen
    }

    fn pinned(&self, pin: Pin, definition: String) -> Pinned {
        let kept: usize = self
            .tools
            .values()
            .filter_map(|pinned| pinned.definition.as_ref())
            .map(String::len)
            .sum();
        let fits =
            definition.len() <= DEFINITION_BYTES && kept + definition.len() <= DEFINITIONS_BYTES;
        Pinned {
            pin,
            definition: fits.then_some(definition),
        }
    }

    /// Forgets tools that are not listed any more, as far as there must be room for new ones.
    fn make_room(&mut self, tools: &[Seen<'_>]) {
        let is_new = |tool: &&Seen<'_>| !self.tools.contains_key(tool.name);
        let wanted = self.tools.len() + tools.iter().filter(is_new).count();
        let surplus = wanted.saturating_sub(TOOLS);
        if surplus == 0 {
            return;
        }
        let is_listed = |name: &String| tools.iter().any(|tool| tool.name == name);
        let unlisted = self.tools.keys().filter(|name| !is_listed(name));
        let gone: Vec<String> = unlisted.take(surplus).cloned().collect();
        for name in gone {
            self.tools.remove(&name);
            self.modes.remove(&name);
        }
    }
}

fn first<'a>(patterns: &'a [String], tool: &str) -> Option<&'a str> {
    let mut patterns = patterns.iter();
    patterns
        .find(|pattern| matches(pattern, tool))
        .map(String::as_str)
}

fn turn(from: &mut Vec<String>, to: &mut Vec<String>, pattern: &str) -> bool {
    from.retain(|other| other != pattern);
    if to.iter().any(|other| other == pattern) {
        return true;
    }
    if to.len() >= PATTERNS {
        return false;
    }
    to.push(pattern.to_owned());
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn tool(name: &'static str, version: u8, is_risky: bool) -> Seen<'static> {
        Seen {
            name,
            pin: Pin::of(&json!([name, version])),
            is_risky,
        }
    }

    fn see(decisions: &mut ToolDecisions, tools: &[Seen<'_>]) -> Vec<Ruling> {
        decisions.see("program", tools, |place| format!("{place}"))
    }

    #[test]
    fn d12_a_changed_definition_takes_that_tool_out_until_it_is_approved() {
        let mut decisions = ToolDecisions::default();
        let (a, b) = (tool("a", 1, false), tool("b", 1, false));
        assert_eq!(see(&mut decisions, &[a, b]), [Ruling::On, Ruling::On]);
        let changed = tool("a", 2, false);
        for _ in 0..2 {
            assert_eq!(
                see(&mut decisions, &[changed, b]),
                [Ruling::Changed, Ruling::On]
            );
        }
        // Gone and back with another definition is no new tool.
        see(&mut decisions, &[b]);
        assert_eq!(see(&mut decisions, &[changed]), [Ruling::Changed]);
        assert_eq!(see(&mut decisions, &[a]), [Ruling::On]);
        decisions.approve("a", changed.pin, "new".to_owned());
        assert_eq!(see(&mut decisions, &[changed, b]), [Ruling::On, Ruling::On]);
        assert_eq!(decisions.definition("a"), Some("new"));
        assert_eq!(see(&mut decisions, &[a]), [Ruling::Changed]);
    }

    #[test]
    fn risky_tools_start_off_and_deny_wins() {
        let mut decisions = ToolDecisions::default();
        let tools = [tool("read_file", 1, true), tool("echo", 1, false)];
        assert_eq!(see(&mut decisions, &tools), [Ruling::Risky, Ruling::On]);
        assert!(decisions.allow("*_file"));
        assert_eq!(see(&mut decisions, &tools), [Ruling::On, Ruling::On]);
        assert!(decisions.deny("read_*"));
        assert_eq!(see(&mut decisions, &tools), [Ruling::Denied, Ruling::On]);
        // The same pattern allowed takes the denial back; another one does not.
        assert!(decisions.allow("*"));
        assert_eq!(see(&mut decisions, &tools)[0], Ruling::Denied);
        assert!(decisions.allow("read_*"));
        assert_eq!(see(&mut decisions, &tools)[0], Ruling::On);
    }

    #[test]
    fn another_program_starts_anew_and_what_was_denied_stays_so() {
        let mut decisions = ToolDecisions::default();
        let tools = [tool("read_file", 1, true), tool("echo", 1, false)];
        see(&mut decisions, &tools);
        decisions.allow("read_file");
        decisions.deny("echo");
        decisions.choose("read_file", tools[0].pin, Mode::Always);
        let other = [tool("read_file", 2, true), tool("echo", 2, false)];
        let ruled = decisions.see("other", &other, |_| String::new());
        assert_eq!(ruled, [Ruling::Risky, Ruling::Denied]);
        assert_eq!(decisions.mode(&other[0]), Mode::Ask);
    }

    #[test]
    fn calls_are_asked_about_as_somebody_chose() {
        let (risky, plain) = (tool("r", 1, true), tool("p", 1, false));
        let verdict = |decisions: &ToolDecisions, tool: &Seen<'_>| decisions.judge(tool, 100);
        let mut decisions = ToolDecisions::default();
        assert_eq!(verdict(&decisions, &plain), Verdict::Go);
        assert_eq!(verdict(&decisions, &risky), Verdict::Ask);
        decisions.open_until("r", risky.pin, 101);
        assert_eq!(verdict(&decisions, &risky), Verdict::Go);
        decisions.open_until("r", risky.pin, 100);
        assert_eq!(verdict(&decisions, &risky), Verdict::Ask);
        decisions.choose("r", risky.pin, Mode::Always);
        assert_eq!(verdict(&decisions, &risky), Verdict::Go);
        decisions.choose("p", plain.pin, Mode::Never);
        assert_eq!(verdict(&decisions, &plain), Verdict::Refuse);
    }

    #[test]
    fn d12_always_is_said_of_a_definition_and_never_of_the_tool() {
        let mut decisions = ToolDecisions::default();
        let (one, two) = (tool("t", 1, false), tool("t", 2, false));
        decisions.choose("t", one.pin, Mode::Always);
        decisions.open_until("t", one.pin, i64::MAX);
        assert_eq!(decisions.judge(&one, 0), Verdict::Go);
        assert_eq!(decisions.judge(&two, 0), Verdict::Ask);
        decisions.choose("t", one.pin, Mode::Never);
        assert_eq!(decisions.judge(&two, 0), Verdict::Refuse);
    }

    #[test]
    fn everything_is_bounded_and_listed_tools_are_never_forgotten() {
        let mut decisions = ToolDecisions::default();
        let names: Vec<String> = (0..TOOLS * 2).map(|n| format!("t{n}")).collect();
        let seen: Vec<Seen<'_>> = names
            .iter()
            .map(|name| Seen {
                name,
                pin: Pin::of(&json!(name)),
                is_risky: false,
            })
            .collect();
        for part in seen.chunks(100) {
            let ruled = decisions.see("p", part, |_| "d".repeat(1024));
            assert!(ruled.iter().all(|ruling| *ruling == Ruling::On));
        }
        assert_eq!(decisions.tools.len(), TOOLS);
        let kept: usize = decisions
            .tools
            .values()
            .flat_map(|pinned| &pinned.definition)
            .map(String::len)
            .sum();
        assert!(kept <= DEFINITIONS_BYTES);
        let taken = (0..PATTERNS + 9).filter(|n| decisions.deny(&format!("p{n}")));
        assert_eq!(taken.count(), PATTERNS);
    }

    #[test]
    fn what_was_lost_makes_careful() {
        let mut decisions = ToolDecisions::lost();
        let echo = tool("echo", 1, false);
        assert_eq!(see(&mut decisions, &[echo]), [Ruling::Risky]);
        assert_eq!(decisions.judge(&echo, 0), Verdict::Ask);
        decisions.allow("echo");
        assert_eq!(see(&mut decisions, &[echo]), [Ruling::On]);
    }

    #[test]
    fn a_decision_is_taken_back_and_the_pins_stay() {
        let mut decisions = ToolDecisions::default();
        let (old, new) = (tool("a", 1, true), tool("b", 1, false));
        see(&mut decisions, &[old]);
        let before = decisions.said();
        decisions.allow("a");
        let after = decisions.said();
        see(&mut decisions, &[old, new]);
        assert!(decisions.take_back(&before, &after));
        assert!(
            !decisions.take_back(&before, &after),
            "it is not so any more"
        );
        assert_eq!(
            see(&mut decisions, &[old, new]),
            [Ruling::Risky, Ruling::On]
        );
    }
}
