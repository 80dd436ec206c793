//! The bot against programs that nobody here wrote: published MCP servers, an authorization server, a browser.
//!
//! Run by `tests/interop/run`, which installs them first. They are not part of plain `cargo test`, which needs nothing
//! but Rust; here, what is not installed fails.

#![allow(
    missing_docs,
    unreachable_pub,
    dead_code,
    unused_imports,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    clippy::too_many_lines,
    reason = "test code: what fails must say where; support is shared with the tests of `it`"
)]

mod bot;
mod direct;
mod full_disk;
mod guarded;
mod oauth;
mod packages;
mod programs;
mod remote;
mod servers;
#[path = "../it/support/mod.rs"]
mod support;
mod talk;
mod ways_out;
mod whole;
