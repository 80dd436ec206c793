//! The whole table of commands, through a front in memory.

mod access;
mod add;
mod audit;
mod calls;
mod canary;
mod changes;
mod host;
mod lasting;
mod looks;
mod network;
mod remote;
mod rough;
mod sealing;
mod secrets;
mod tools;
mod underway;
