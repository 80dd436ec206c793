//! The changes that turn one document into another, exactly: values, order, fields.

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value};

use super::super::document::SERVERS;
use super::super::{Document, FileKind};
use super::Change;

/// Renames are looked for only among so many pairs of removed and added servers.
const MOST_PAIRS: usize = 4096;

/// Adds the changes from `old` to `new` to `changes`.
pub(super) fn changes(file: FileKind, old: &Document, new: &Document, changes: &mut Vec<Change>) {
    let kept = kept_fields(&old.0, &new.0);
    let empty = Map::new();
    let was = old.0.get(SERVERS).map(Value::as_object);
    let is = new.0.get(SERVERS).map(Value::as_object);
    let servers_stay = kept.contains(SERVERS);

    // First the servers where they stand, each by name, so that the edit tells which servers it touches.
    match (was, is) {
        (Some(Some(was)), Some(Some(is))) => servers(file, was, is, changes),
        (Some(Some(was)), None | Some(None)) => servers(file, was, &empty, changes),
        (None | Some(None), _) => {}
    }
    for key in old.0.keys().filter(|key| !kept.contains(key.as_str())) {
        changes.push(field(file, key, None));
    }
    for (key, value) in &new.0 {
        if key == SERVERS {
            match (was, is) {
                // Put makes the field where it is missing, in the right place: fields follow in order.
                (None, Some(Some(is))) if !is.is_empty() => servers(file, &empty, is, changes),
                (Some(Some(_)), Some(Some(_))) if servers_stay => {}
                _ if servers_stay && old.0.get(SERVERS).is_some_and(|was| same(was, value)) => {}
                _ => changes.push(field(file, key, Some(value))),
            }
        } else if !kept.contains(key.as_str())
            || !old.0.get(key).is_some_and(|was| same(was, value))
        {
            changes.push(field(file, key, Some(value)));
        }
    }
}

fn field(file: FileKind, key: &str, value: Option<&Value>) -> Change {
    Change::Field {
        file,
        key: key.to_owned(),
        value: value.cloned(),
    }
}

/// The fields that may stay where they are: what is set anew goes to the end, so these must be the first of `new`, in
/// the order that they have in `old`.
fn kept_fields<'a>(old: &Map<String, Value>, new: &'a Map<String, Value>) -> HashSet<&'a str> {
    let places: HashMap<&str, usize> = old.keys().map(String::as_str).zip(0..).collect();
    let mut last = None;
    new.keys()
        .map(String::as_str)
        .take_while(|key| {
            let place = places.get(key).copied();
            let follows = place.is_some() && place > last;
            last = place;
            follows
        })
        .collect()
}

fn servers(
    file: FileKind,
    old: &Map<String, Value>,
    new: &Map<String, Value>,
    changes: &mut Vec<Change>,
) {
    let renamed = renames(old, new);
    for (from, to) in &renamed {
        changes.push(Change::Rename {
            file,
            from: (*from).to_owned(),
            to: (*to).to_owned(),
        });
    }
    let renamed: HashMap<&str, &str> = renamed.into_iter().collect();
    let now_named = |name: &'_ str| renamed.get(name).copied().map(str::to_owned);
    let current: Vec<(String, &Value)> = old
        .iter()
        .map(|(name, value)| (now_named(name).unwrap_or_else(|| name.clone()), value))
        .collect();
    let stay = staying(&current, new);
    for (name, _) in &current {
        if !stay.contains(name.as_str()) {
            changes.push(Change::Remove {
                file,
                name: name.clone(),
            });
        }
    }
    let values: HashMap<&str, &Value> = current.iter().map(|(n, v)| (n.as_str(), *v)).collect();
    // Places are filled from the front, so a new entry's place is its final one; those that stay are behind it still.
    let mut staying_ahead = stay.len();
    for (at, (name, value)) in new.iter().enumerate() {
        let stays = stay.contains(name.as_str());
        staying_ahead -= usize::from(stays);
        if stays
            && values
                .get(name.as_str())
                .is_some_and(|was| same(was, value))
        {
            continue;
        }
        changes.push(Change::Put {
            file,
            name: name.clone(),
            value: value.clone(),
            at: (!stays && staying_ahead > 0).then_some(at),
        });
    }
}

/// Servers that are gone and came back unchanged under a new name.
fn renames<'a>(
    old: &'a Map<String, Value>,
    new: &'a Map<String, Value>,
) -> Vec<(&'a str, &'a str)> {
    let gone: Vec<_> = old
        .iter()
        .filter(|(name, _)| !new.contains_key(*name))
        .collect();
    let mut came: Vec<_> = new
        .iter()
        .filter(|(name, _)| !old.contains_key(*name))
        .collect();
    let mut pairs = Vec::new();
    if gone.len().saturating_mul(came.len()) > MOST_PAIRS {
        return pairs;
    }
    for (from, was) in gone {
        if let Some(at) = came.iter().position(|(_, is)| same(was, is)) {
            let (to, _) = came.remove(at);
            pairs.push((from.as_str(), to.as_str()));
        }
    }
    pairs
}

/// As many entries as possible that are in both and in the same order, so that the fewest move: the longest increasing
/// run of new places.
fn staying<'a>(old: &[(String, &Value)], new: &'a Map<String, Value>) -> HashSet<&'a str> {
    let places: HashMap<&str, usize> = new.keys().map(String::as_str).zip(0..).collect();
    let sequence: Vec<usize> = old
        .iter()
        .filter_map(|(name, _)| places.get(name.as_str()).copied())
        .collect();
    // `ends[n]` is where the best run of n + 1 entries ends; `before[i]` leads back along the run of entry i.
    let mut ends: Vec<usize> = Vec::new();
    let mut before: Vec<Option<usize>> = Vec::with_capacity(sequence.len());
    for (at, place) in sequence.iter().enumerate() {
        let length = ends.partition_point(|end| sequence[*end] < *place);
        before.push(length.checked_sub(1).map(|n| ends[n]));
        if length == ends.len() {
            ends.push(at);
        } else {
            ends[length] = at;
        }
    }
    let mut chosen = HashSet::new();
    let mut at = ends.last().copied();
    while let Some(here) = at {
        chosen.insert(sequence[here]);
        at = before[here];
    }
    new.keys()
        .enumerate()
        .filter(|(place, _)| chosen.contains(place))
        .map(|(_, name)| name.as_str())
        .collect()
}

/// Equal as text: the order of fields counts, which `==` of JSON objects ignores.
pub(super) fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|((k, v), (l, w))| k == l && same(v, w))
        }
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(v, w)| same(v, w))
        }
        (Value::Number(a), Value::Number(b)) => a == b && a.to_string() == b.to_string(),
        _ => a == b,
    }
}
