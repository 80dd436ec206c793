//! How many calls at once: a lane for each thread, and turns among the lanes when the house is full.
//!
//! A thread has at most its few calls under way, whatever its servers do, so others always find room; when all places are
//! taken, the threads that wait get them in turns. Nobody waits without end: who waits too long leaves, and is told.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use crate::thread::ThreadId;

/// So many calls of a thread wait beside those that may be under way; more are told that it is busy.
pub(super) const WAITING: usize = 16;

/// How many at once.
#[derive(Debug, Clone, Copy)]
pub(super) struct Most {
    pub(super) of_thread: usize,
    pub(super) in_all: usize,
}

/// All lanes. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct Lanes(Arc<Mutex<House>>);

#[derive(Debug, Default)]
struct House {
    lanes: HashMap<ThreadId, Lane>,
    running: usize,
    /// As whoever came last was told: a policy that allows less holds for those that wait as well.
    most: Option<Most>,
    /// The threads that wait, each once, in the order of their turns.
    turns: VecDeque<ThreadId>,
}

#[derive(Debug, Default)]
struct Lane {
    running: usize,
    waiting: VecDeque<oneshot::Sender<Place>>,
}

/// A place for one call; dropping it gives it back.
#[derive(Debug)]
pub(super) struct Place {
    lanes: Option<Lanes>,
    thread: ThreadId,
    most: Most,
}

/// As many wait as may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Full;

impl Lanes {
    /// Waits for a place. Dropped meanwhile, it leaves the line.
    pub(super) async fn enter(&self, thread: ThreadId, most: Most) -> Result<Place, Full> {
        let turn = {
            let mut house = self.lock();
            house.most = Some(most);
            let is_room = house.running < most.in_all;
            let lane = house.lanes.entry(thread).or_default();
            lane.waiting.retain(|waits| !waits.is_closed());
            if is_room && lane.running < most.of_thread && lane.waiting.is_empty() {
                lane.running += 1;
                house.running += 1;
                return Ok(self.place(thread, most));
            }
            // While the house is full, those wait too that would be under way; a thread has no less of them then.
            if lane.running + lane.waiting.len() >= most.of_thread + WAITING {
                return Err(Full);
            }
            let (sender, turn) = oneshot::channel();
            lane.waiting.push_back(sender);
            if !house.turns.contains(&thread) {
                house.turns.push_back(thread);
            }
            // The operator may have widened it since the line formed.
            self.admit(&mut house, most);
            turn
        };
        // A sender that is dropped without a word would be a lane that was forgotten; it is not.
        turn.await.map_err(|_| Full)
    }

    /// Gives free places to those who wait, a thread at a time.
    fn admit(&self, house: &mut House, most: Most) {
        let mut passed_over = 0;
        while house.running < most.in_all && passed_over < house.turns.len() {
            let Some(thread) = house.turns.pop_front() else {
                return;
            };
            let Some(lane) = house.lanes.get_mut(&thread) else {
                continue;
            };
            lane.waiting.retain(|waits| !waits.is_closed());
            if lane.waiting.is_empty() {
                continue;
            }
            if lane.running >= most.of_thread {
                house.turns.push_back(thread);
                passed_over += 1;
                continue;
            }
            if let Some(next) = lane.waiting.pop_front() {
                match next.send(self.place(thread, most)) {
                    Ok(()) => {
                        lane.running += 1;
                        house.running += 1;
                        passed_over = 0;
                    }
                    // They left just now. The place was never theirs.
                    Err(mut place) => place.lanes = None,
                }
            }
            if !lane.waiting.is_empty() {
                house.turns.push_back(thread);
            }
        }
    }

    fn place(&self, thread: ThreadId, most: Most) -> Place {
        Place {
            lanes: Some(self.clone()),
            thread,
            most,
        }
    }

    fn lock(&self) -> MutexGuard<'_, House> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Some(lanes) = self.lanes.take() else {
            return;
        };
        let mut house = lanes.lock();
        house.running = house.running.saturating_sub(1);
        if let Some(lane) = house.lanes.get_mut(&self.thread) {
            lane.running = lane.running.saturating_sub(1);
        }
        let most = house.most.unwrap_or(self.most);
        lanes.admit(&mut house, most);
        let idle = house
            .lanes
            .get(&self.thread)
            .is_some_and(|lane| lane.running == 0 && lane.waiting.is_empty());
        if idle {
            house.lanes.remove(&self.thread);
            let thread = self.thread;
            house.turns.retain(|waits| *waits != thread);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;
    use futures::future::BoxFuture;

    const MOST: Most = Most {
        of_thread: 4,
        in_all: 6,
    };

    fn thread(id: i64) -> ThreadId {
        ThreadId::telegram(id, None)
    }

    type Waits = BoxFuture<'static, Result<Place, Full>>;

    fn is_in(lanes: &Lanes, id: i64) -> Place {
        comes(lanes, id).ok().unwrap()
    }

    fn waits(lanes: &Lanes, id: i64) -> Waits {
        comes(lanes, id).err().unwrap()
    }

    /// Comes in, or gets into line.
    fn comes(lanes: &Lanes, id: i64) -> Result<Place, Waits> {
        let lanes = lanes.clone();
        let mut enters = Box::pin(async move { lanes.enter(thread(id), MOST).await });
        match (&mut enters).now_or_never() {
            Some(place) => Ok(place.unwrap()),
            None => Err(enters),
        }
    }

    #[test]
    fn a_thread_has_its_places_and_sixteen_wait() {
        let lanes = Lanes::default();
        let mut in_there: Vec<Place> = (0..4).map(|_| is_in(&lanes, 1)).collect();
        let mut line: VecDeque<Waits> = (0..WAITING).map(|_| waits(&lanes, 1)).collect();
        let refused = lanes.enter(thread(1), MOST).now_or_never();
        assert!(matches!(refused, Some(Err(Full))));
        // Another thread finds room meanwhile.
        let other = is_in(&lanes, 2);
        // Who leaves the line makes room in it.
        line.pop_back();
        line.push_back(waits(&lanes, 1));
        // In their order.
        while let Some(next) = line.pop_front() {
            in_there.remove(0);
            in_there.push(next.now_or_never().unwrap().unwrap());
            assert!(
                line.front_mut()
                    .is_none_or(|next| next.now_or_never().is_none())
            );
        }
        drop((in_there, other));
        let house = lanes.lock();
        assert!(house.lanes.is_empty() && house.running == 0 && house.turns.is_empty());
    }

    #[test]
    fn a_full_house_gives_its_places_in_turns() {
        let lanes = Lanes::default();
        let mut in_there: Vec<Place> = (0..4).map(|_| is_in(&lanes, 1)).collect();
        in_there.extend((0..2).map(|_| is_in(&lanes, 2)));
        let mut line: Vec<(i64, Waits)> = [2, 2, 2, 3, 3, 4]
            .into_iter()
            .map(|id| (id, waits(&lanes, id)))
            .collect();
        let mut order = Vec::new();
        for _ in 0..6 {
            in_there.remove(0);
            let at = line.iter_mut().position(|(_, waits)| {
                let Some(place) = waits.now_or_never() else {
                    return false;
                };
                in_there.push(place.unwrap());
                true
            });
            order.push(line.remove(at.unwrap()).0);
        }
        assert_eq!(order, [2, 3, 4, 2, 3, 2]);
    }

    #[test]
    fn fewer_at_once_hold_for_those_that_wait() {
        let lanes = Lanes::default();
        let mut in_there: Vec<Place> = (0..4).map(|_| is_in(&lanes, 1)).collect();
        let first = waits(&lanes, 1);
        let fewer = Most {
            of_thread: 1,
            ..MOST
        };
        let mut elsewhere = Box::pin(lanes.enter(thread(2), fewer));
        drop((&mut elsewhere).now_or_never());
        let mut first = Some(first);
        for left in (0..4).rev() {
            in_there.pop();
            let came = first.as_mut().and_then(FutureExt::now_or_never);
            assert_eq!(came.is_some(), left == 0, "{left} are there");
            if came.is_some() {
                first = None;
            }
        }
    }

    #[test]
    fn a_place_that_nobody_came_for_is_not_lost() {
        let lanes = Lanes::default();
        let mut in_there: Vec<Place> = (0..4).map(|_| is_in(&lanes, 1)).collect();
        let gone = waits(&lanes, 1);
        let stays = waits(&lanes, 1);
        // It is given to the first in line, who leaves without looking.
        in_there.pop();
        drop(gone);
        in_there.push(stays.now_or_never().unwrap().unwrap());
        assert!(comes(&lanes, 1).is_err());
        drop(in_there);
        assert_eq!(lanes.lock().running, 0);
    }
}
