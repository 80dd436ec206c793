//! What an operator does from a shell: the keys of what is kept secret, and the audit.

use std::io::Write;

use anyhow::Context;

use crate::settings::Settings;
use crate::store::{Store, Verdict};
use crate::thread::ThreadId;
use crate::vault::KeyId;

use super::say;

/// Seals everything anew, and says in numbers what came of it.
pub fn rotate_secrets(settings: Settings) -> anyhow::Result<bool> {
    let data = settings.data.display().to_string();
    let store = Store::open_with(&settings.data, settings.vault)
        .with_context(|| format!("the data folder {data} cannot be used"))?;
    let done = store.rotate_keys().context(
        "not everything was sealed anew; what there is stays readable, and it may be tried again",
    )?;
    let Some(active) = done.active else {
        say("Nothing is kept secret here yet, so there is nothing to seal.");
        return Ok(true);
    };
    say(&format!(
        "Sealed anew: {}; with the key {active} already: {}.",
        done.resealed, done.fresh
    ));
    for refused in &done.refused {
        say(&format!("Not sealed anew: {refused}."));
    }
    if !done.unused.is_empty() {
        say(&format!(
            "Nothing needs these keys any more: {}.",
            done.unused.join(", ")
        ));
    }
    if !done.needed.is_empty() {
        say(&format!(
            "Still needed, keep them: {}.",
            done.needed.join(", ")
        ));
    }
    Ok(done.refused.is_empty())
}

/// Goes on without a key that is lost.
pub fn give_up_key(settings: &Settings, key: &str) -> anyhow::Result<bool> {
    let id = KeyId::new(key).with_context(|| format!("`{key}` is no id of a key"))?;
    if !Store::give_up_key(&settings.data, &id)? {
        say(&format!("Nothing here is sealed with a key {id}."));
        return Ok(false);
    }
    say(&format!(
        "The key {id} is given up. What it sealed counts as not there; people give it anew."
    ));
    Ok(true)
}

/// Says for each thread, or for one, whether its audit is whole; whether all are.
pub fn verify_audit(settings: &Settings, thread: Option<ThreadId>) -> anyhow::Result<bool> {
    if !settings.data.is_dir() {
        anyhow::bail!("there is no data folder {}", settings.data.display());
    }
    let store = Store::open(&settings.data)
        .with_context(|| format!("the data folder {} cannot be used", settings.data.display()))?;
    let threads = match thread {
        Some(thread) => vec![thread],
        None => store
            .audited_threads()
            .context("the data folder cannot be read")?,
    };
    let (mut out, mut all_whole) = (std::io::stdout().lock(), true);
    if threads.is_empty() {
        writeln!(out, "No chat has an audit in {}.", settings.data.display())
            .context("the answer cannot be written")?;
    }
    for thread in threads {
        let said = match store.verify_audit(thread) {
            Ok(Verdict::Nothing) => "nothing was written down".to_owned(),
            Ok(Verdict::Whole { lines, last }) => {
                format!("whole, {lines} lines, the last is no. {last}")
            }
            Ok(Verdict::Broken { n, flaw }) => {
                all_whole = false;
                format!("BROKEN from line no. {n} on: {flaw}")
            }
            Err(error) => {
                all_whole = false;
                format!("UNREADABLE: {error}")
            }
        };
        writeln!(out, "{thread}: {said}").context("the answer cannot be written")?;
    }
    Ok(all_whole)
}
