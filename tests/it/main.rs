//! End-to-end tests: the rooms together, through a front; in one binary.

#![allow(
    missing_docs,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "test code: what fails must say where"
)]

mod desk;
mod faults;
mod gate;
mod house;
mod load;
mod oauth;
mod registry;
mod remote;
mod sandbox;
mod shell;
mod support;
mod telegram;
mod telegram_access;
mod telegram_front;
mod terminal_front;
