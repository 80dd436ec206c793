//! Switchboard: a chat bot through which each chat thread plugs in its own MCP servers.
//!
//! One way through the house: a front turns what people type into an [`chat::Event`]; the [`desk`] answers with a view,
//! or with a proposal that waits for Apply; the [`store`] commits it to disk; [`watch`] sees the disk change; [`reload`]
//! reads and checks it and hands it to the [`registry`], which starts and stops servers and reports back to the desk.
//! What a thread fetches goes through [`net`]; logins at remote servers are [`oauth`]'s, and [`web`] serves their pages.
//!
//! Rooms, in reading order:

#![warn(missing_docs)]

pub mod settings;

pub mod actor;
pub mod secret;
pub mod thread;

pub mod config;
pub mod policy;

pub mod audit;
pub mod sandbox;
pub mod vault;

pub mod store;
pub mod watch;

pub mod gate;
pub mod net;
pub mod oauth;
pub mod registry;
pub mod reload;

pub mod command;
pub mod desk;

pub mod chat;
pub mod web;

pub mod app;
pub mod demo;
