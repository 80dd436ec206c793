//! Logins against a small authorization server: each promise of the room, and what happens when it goes wrong.

mod back;
mod begin;
mod bound;
mod ends;
mod pages;
mod reach;
mod stand;
mod tokens;
mod world;
