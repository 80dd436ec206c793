//! Hostile servers under each tier that this machine's self-test proves.

mod enforced;
mod held;
mod led;
mod limits;
mod named;
mod proof;
mod reached;
mod scene;
mod start;
mod told;
