//! What the tests share.

pub mod bot_api;
pub mod chat;
pub mod hostile;
pub mod telegram;
pub mod world;
