//! What is told of a panic: where it was, and of what it said only what stands in the program.
//!
//! A formatted message may hold what somebody typed or a server sent (a slice that is cut within a character repeats its
//! text), and it would reach the log past every masking.

use std::any::Any;
use std::backtrace::{Backtrace, BacktraceStatus};

/// From now on panics of this process are told so, a line each, and by nobody else.
pub fn withhold_panics(tell: impl Fn(&str) + Send + Sync + 'static) {
    std::panic::set_hook(Box::new(move |panic| {
        let place = panic
            .location()
            .map_or_else(String::new, |place| format!(" at {place}"));
        let thread = std::thread::current();
        let thread = thread.name().unwrap_or("without a name");
        let said = literal(panic.payload());
        // Names of functions and lines; only where RUST_BACKTRACE asks for it.
        let way = Backtrace::capture();
        let way = match way.status() {
            BacktraceStatus::Captured => format!("\n{way}"),
            _ => String::new(),
        };
        tell(&format!(
            "thread {thread} panicked{place}: {said}; this is a fault of the program, please report it.{way}"
        ));
    }));
}

/// What was said, where it is a text of the program.
fn literal(payload: &dyn Any) -> &'static str {
    payload
        .downcast_ref::<&'static str>()
        .copied()
        .unwrap_or("what it said is withheld, since it may hold what people wrote")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_texts_of_the_program_are_told() {
        let typed = String::from("ghp_é");
        for (panic, told) in [
            (
                std::panic::catch_unwind(|| panic!("a text")).unwrap_err(),
                "a text",
            ),
            (
                std::panic::catch_unwind(|| typed[..5].len()).unwrap_err(),
                "what it said is withheld, since it may hold what people wrote",
            ),
        ] {
            assert_eq!(literal(&*panic), told);
        }
    }
}
