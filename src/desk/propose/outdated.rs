//! What was allowed of a server's tools and counts no more once its entry runs another program, or the same elsewhere:
//! said before the change is applied.

use super::super::refusal::Refusal;
use super::super::turn::Turn;
use crate::config::{ServerName, ThreadConfig, program_key, visible};

/// So many names are told.
const NAMED: usize = 5;

impl Turn<'_> {
    /// A sentence for each server whose tools were allowed for what it was before this change.
    pub(super) async fn outdated(
        &self,
        old: &ThreadConfig,
        new: &ThreadConfig,
    ) -> Result<Vec<String>, Refusal> {
        let mut told = Vec::new();
        for (name, after) in new.own() {
            let Some((_, before)) = old.own().find(|(other, _)| *other == name) else {
                continue;
            };
            let (now, next) = (program_key(&before), program_key(&after));
            if now == next {
                continue;
            }
            let decisions = self.decisions(name).await?;
            let lost = decisions.lost_by(&now, &next);
            if !lost.is_empty() {
                told.push(sentence(name, &lost));
            }
        }
        Ok(told)
    }
}

fn sentence(name: &ServerName, lost: &[&str]) -> String {
    // Not the widest one, where there is another.
    let example = lost.iter().find(|one| !one.contains('*')).or(lost.first());
    let example = example.copied().unwrap_or_default();
    let named: Vec<String> = lost
        .iter()
        .take(NAMED)
        .map(|pattern| format!("`{}`", visible(pattern)))
        .collect();
    let more = match lost.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!(
        "`{name}` becomes another program or place by this, so what was allowed of its tools counts no more: {}{more}. \
         Allow again afterwards what you still want: `/mcp allow {name} {}`. What is denied stays denied.",
        named.join(", "),
        visible(example)
    )
}
