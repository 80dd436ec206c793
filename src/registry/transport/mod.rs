//! The ways to a server as rmcp transports, with every bound that the bot needs.
//!
//! `pipe` stands in for `rmcp`'s own line transport because a hostile or broken peer has to be bounded here: a line over
//! the limit answers the request that waits for it instead of leaving it to its deadline, a flood is slowed down to a
//! trickle and then cut off, writes to a peer that does not read are counted, buffers shrink again, and notifications
//! (of which the registry wants two kinds) never become tasks. `watched` gives the same bounds to a transport that comes
//! from elsewhere: one to a remote server.

mod events;
mod incoming;
mod noise;
mod outgoing;
mod pipe;
mod unreadable;
mod watched;

pub(super) use events::{Events, Limits, Verdict};
pub(super) use noise::{Flood, Noise};
pub(super) use outgoing::Outgoing;
pub(super) use pipe::PipeTransport;
pub(super) use unreadable::{UNREADABLE, id_of_answer, unreadable};
pub(super) use watched::Watched;

/// The longest line that is read: one message.
pub(super) const LINE_BYTES: usize = 4 * 1024 * 1024;
