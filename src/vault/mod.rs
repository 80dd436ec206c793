//! Sealing what is secret before it is written to disk.
//!
//! A sealed text is `v1.<key id>.<base64>`: XChaCha20-Poly1305 with a random nonce, bound to what it is ([`Binding`]), so
//! that it opens in its place and nowhere else. A [`Ring`] holds the keys: the first seals, all of them open, which is how
//! keys are changed without stopping. Pure: where keys come from is the business of settings and store.

mod ring;
mod seal;

pub use ring::{KeyError, KeyId, Ring};
pub use seal::{Binding, OpenError, SealError, key_of};
