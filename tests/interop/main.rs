//! The bot against programs that nobody here wrote: the published MCP servers of `package.json`.
//!
//! Run by `tests/interop/run`, which installs them first. They are not part of plain `cargo test`, which needs nothing
//! but Rust; here, what is not installed fails.

#![allow(
    missing_docs,
    unreachable_pub,
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    clippy::too_many_lines,
    reason = "test code: what fails must say where; support is shared with the tests of `it`"
)]

mod bot;
mod direct;
mod full_disk;
mod servers;
#[path = "../it/support/mod.rs"]
mod support;
