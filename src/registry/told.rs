//! The stages of a try, told as they end: to whoever watches, and once more all together at the end.

use std::time::Instant;

use tokio::sync::mpsc;

use super::{Broken, Stage, StageResult};

/// Tells the stages of one try.
pub(super) struct Told {
    sender: mpsc::UnboundedSender<StageResult>,
    /// When the stage before ended.
    since: Instant,
}

impl Told {
    /// A stage ended now.
    pub(super) fn tell(&mut self, stage: Stage, outcome: Result<String, Broken>) {
        let took = self.since.elapsed();
        self.since = Instant::now();
        let _ = self.sender.send(StageResult {
            stage,
            took,
            outcome,
        });
    }
}

/// Tries something that tells its stages; `stages` is told each as it ends, and never holds the try up. What came of it, and
/// all the stages.
pub(super) async fn watched<T>(
    stages: mpsc::Sender<StageResult>,
    try_it: impl AsyncFnOnce(Told) -> T,
) -> (T, Vec<StageResult>) {
    let (sender, mut receiver) = mpsc::unbounded_channel();
    let told = Told {
        sender,
        since: Instant::now(),
    };
    let telling = async move {
        let mut results = Vec::new();
        while let Some(result) = receiver.recv().await {
            results.push(StageResult::clone(&result));
            let _ = stages.send(result).await;
        }
        results
    };
    futures::future::join(try_it(told), telling).await
}
