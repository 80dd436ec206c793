//! Starting programs: the one place of the house that does.
//!
//! A small process of our own, the launcher (`switchboard launcher`), owns every server's process: it is their parent and
//! the subreaper of whatever they start. It gets a server's three pipe ends over a socket, and its life hangs on that
//! socket: when the bot closes it, or dies by any signal, the launcher ends every descendant and then itself. So nothing
//! that a server started outlives the bot, and the bot never forks.
//!
//! [`host`] is the launcher's side, `client` the bot's, `wire` what they say to each other, `process_table` what both
//! read from `/proc`, `program` and `environment` what a server is started with, `watch` what
//! a confined server uses, `kept` what of it no counter of the kernel's shows, `processor` how long it kept the processor
//! busy.

mod client;
mod environment;
mod host;
mod kept;
mod lineage;
mod process_table;
mod processor;
mod program;
mod watch;
mod wire;

pub use host::launcher_main;

pub(super) use client::{Child, Ender, Launcher, Lost, Spawn};
pub(super) use environment::BaseEnvironment;
pub(super) use kept::nameless_files;
pub(super) use program::{advice_for, find_program};
pub(super) use wire::{Ended, Over};
