//! The whole table of commands, through a front in memory.

mod add;
mod calls;
mod changes;
mod host;
mod lasting;
mod looks;
mod remote;
mod rough;
mod underway;
