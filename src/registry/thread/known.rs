//! What no text of a thread may hold: the secrets of all its servers, since one may print what another was given.

use std::sync::Arc;

use arc_swap::ArcSwapOption;

use super::super::handle::Handle;
use crate::config::Masker;

/// The newest masker of a thread, made anew only when a server's own is another one.
#[derive(Debug, Default)]
pub(super) struct Known(ArcSwapOption<Made>);

#[derive(Debug)]
struct Made {
    of: Vec<Arc<Masker>>,
    masker: Arc<Masker>,
}

impl Known {
    /// What all of these servers were given.
    pub(super) fn of<'a>(
        &self,
        handles: impl Iterator<Item = &'a Arc<Handle>> + Clone,
    ) -> Arc<Masker> {
        let made = self.0.load();
        if let Some(made) = &*made
            && made.is_of(handles.clone())
        {
            return Arc::clone(&made.masker);
        }
        let of: Vec<Arc<Masker>> = handles.map(|handle| handle.known()).collect();
        let masker = match of.as_slice() {
            [one] => Arc::clone(one),
            several => Arc::new(Masker::of_all(several.iter().map(AsRef::as_ref))),
        };
        self.0.store(Some(Arc::new(Made {
            of,
            masker: Arc::clone(&masker),
        })));
        masker
    }
}

impl Made {
    fn is_of<'a>(&self, handles: impl Iterator<Item = &'a Arc<Handle>>) -> bool {
        let mut of = self.of.iter();
        let all_same = handles.into_iter().all(|handle| {
            let known = of.next();
            known.is_some_and(|known| handle.knows(known))
        });
        all_same && of.next().is_none()
    }
}
