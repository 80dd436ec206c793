//! Which of a server's tools are on, and which calls are asked about. Pure: what a server says of its tools are hints of an
//! untrusted party, what people decided is handed in, and nothing is looked up.

mod decisions;
mod pin;
mod risk;

pub use decisions::{Mode, Ruling, Said, Seen, ToolDecisions, Verdict};
pub use pin::{Pin, canonical};
pub use risk::{Hints, Label, is_risky, labels};
