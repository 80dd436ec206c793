//! The JSON intake: whatever is pasted or uploaded, what is taken of it is a valid file that is read again as what it was,
//! is shown without its secrets and comes back with them.

#![no_main]

use std::collections::HashSet;

use libfuzzer_sys::fuzz_target;
use switchboard::command::{self, Request};
use switchboard::config::{
    Change, ConfigError, Document, Edit, FileKind, Files, Intake, RemoteOffer, ServerName, intake,
    is_secret_value, restore_masked,
};

fuzz_target!(|bytes: &[u8]| {
    match Document::parse(bytes) {
        Ok(document) => is_kept(&document),
        Err(error) => told(&error),
    }
    match intake(None, bytes) {
        Ok(taken) => check(taken),
        Err(error) => told(&error),
    }
});

fn check(taken: Intake) {
    let local = taken.local.iter().map(|(name, _)| name);
    let remote = taken.remote.iter().map(|offer| &offer.name);
    let mut names = HashSet::new();
    for name in local.chain(remote) {
        assert!(ServerName::new(name).is_ok(), "{name:?} is no name");
        assert!(names.insert(name), "{name} is there twice");
    }
    taken.remote.iter().for_each(can_be_sent);
    is_kept(&taken.rest);

    let puts = taken.local.into_iter().map(|(name, value)| Change::Put {
        file: FileKind::Local,
        name,
        value,
        at: None,
    });
    let edit = Edit(puts.collect());
    let files = edit.apply(&Files::default()).expect("nothing is there yet");
    let config = match files.check() {
        Ok(config) => config,
        Err(error) => return told(&error),
    };
    is_kept(&files.local);
    let again = Files {
        local: Document::parse(files.local.to_text().as_bytes()).expect("our own text"),
        ..Files::default()
    };
    assert_eq!(again.check().expect("it was valid"), config);
    let back = Edit::between(&files, &Files::default());
    let undone = back.apply(&files).expect("it was made for these files");
    assert_eq!(undone.local.servers().count(), 0);
}

/// The line that is offered for a remote server is one that the bot understands.
fn can_be_sent(offer: &RemoteOffer) {
    let line = &offer.connect;
    assert!(!line.contains(['\n', '\r']), "{line:?}");
    let is_web = line.contains(" http://") || line.contains(" https://");
    if !is_web || is_secret_value(&offer.name) {
        return;
    }
    match command::read(line, None) {
        Ok(Request::Connect(read)) => assert_eq!(read.name.as_ref(), Some(&offer.name), "{line}"),
        Ok(other) => panic!("{line} is read as {other:?}"),
        Err(error) => panic!("{line} is not read: {error}"),
    }
}

/// A document is read again as what it was, and masked comes back whole.
fn is_kept(document: &Document) {
    let text = document.to_text();
    let Ok(again) = Document::parse(text.as_bytes()) else {
        panic!("our own text is not read: {text}");
    };
    assert!(again.servers().eq(document.servers()), "{text}");
    assert!(again.fields().eq(document.fields()), "{text}");
    if text.contains('•') {
        return;
    }
    let (masked, count) = document.masked();
    assert_eq!(count == 0, masked == *document, "{text}");
    let pairs = document.servers().zip(masked.servers());
    for ((_, whole), (_, shown)) in pairs.chain(document.fields().zip(masked.fields())) {
        let mut back = shown.clone();
        assert!(restore_masked(&mut back, Some(whole)).is_empty(), "{shown}");
        assert_eq!(back, *whole);
    }
    assert_eq!(
        masked.masked().1,
        0,
        "what is masked has no secret left: {}",
        masked.to_text()
    );
}

/// What is wrong is said in words, with a place that is there.
fn told(error: &ConfigError) {
    assert!(!error.to_string().is_empty());
    if let ConfigError::Syntax(error) = error {
        assert!(error.caret <= error.text.chars().count());
    }
}
