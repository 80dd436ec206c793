//! The reader of event streams: any bytes in any pieces end in the same events or in an error, each within its bound.

#![no_main]

use libfuzzer_sys::fuzz_target;
use switchboard::registry::{Told, events_of};
use url::Url;

/// The bound of an event that the reader has while it is fuzzed.
const EVENT_BYTES: usize = 512;

fuzz_target!(|bytes: &[u8]| {
    let base = Url::parse("https://mcp.example/a/sse").expect("an address");
    let read = |pieces, most| events_of(pieces, most, &base);
    let whole = read(vec![bytes.to_vec()], None);
    for size in [1, 2, 3, 7] {
        let pieces = bytes.chunks(size).map(<[u8]>::to_vec);
        // A piece may be empty, too.
        let pieces: Vec<_> = pieces.flat_map(|piece| [piece, Vec::new()]).collect();
        let told = read(pieces.clone(), Some(bytes.len()));
        assert_eq!(told.is_ok(), whole.is_ok(), "{told:?} {whole:?}");
        if let (Ok(told), Ok(whole)) = (&told, &whole) {
            assert_eq!(told, whole);
        }
        if let Some(less) = bytes.len().checked_sub(1) {
            assert!(
                read(pieces, Some(less)).is_err(),
                "it is longer than {less}"
            );
        }
    }
    for told in whole.iter().flatten() {
        check(told, &base);
    }
});

fn check(told: &Told, base: &Url) {
    let (kind, data, id, _) = &told.event;
    let texts = [kind, data, id].into_iter().flatten();
    assert!(texts.map(String::len).sum::<usize>() <= EVENT_BYTES);
    if let Some(Ok(endpoint)) = &told.endpoint {
        assert_eq!(endpoint.origin(), base.origin(), "messages carry the key");
    }
}
