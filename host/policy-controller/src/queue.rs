//! The queue of Stages that want attention: each Stage at most once, one handler per Stage, fair between Projects.
//!
//! In: keys pushed by the watches, and keys with a time at which they are due. Out: the next key, Projects in turn,
//! so that a Project with a thousand failures cannot keep the others waiting. Deterministic: ordered maps only.
//! Nothing here knows what is done with a key.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Mutex, PoisonError};

use policy_core::name::{ProjectName, StageName};
use tokio::sync::Notify;
use tokio::time::Instant;

/// A Stage by its Project and name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StageKey {
    /// The Project.
    pub project: ProjectName,
    /// The Stage.
    pub stage: StageName,
}

impl std::fmt::Display for StageKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Stage {}/{}", self.project, self.stage)
    }
}

#[derive(Default)]
struct State {
    /// Projects with work, in the order of their turns.
    turns: VecDeque<ProjectName>,
    /// Stages that wait, per Project, oldest first.
    waiting: BTreeMap<ProjectName, VecDeque<StageName>>,
    /// Stages that a handler has; pushed again meanwhile if the flag is set.
    busy: BTreeMap<StageKey, bool>,
    /// Stages that are due later.
    later: BTreeSet<(Instant, StageKey)>,
}

/// The queue. Cheap to share behind an `Arc`.
#[derive(Default)]
pub struct Queue {
    state: Mutex<State>,
    changed: Notify,
}

impl Queue {
    /// Wants attention for a Stage as soon as possible.
    pub fn push(&self, key: StageKey) {
        self.with(|state| state.enqueue(key));
        self.changed.notify_one();
    }

    /// Wants attention for a Stage at `due`. The earliest of several wins.
    pub fn push_at(&self, key: StageKey, due: Instant) {
        self.with(|state| {
            let known = state.later.iter().find(|(_, other)| *other == key).cloned();
            match known {
                Some((earlier, _)) if earlier <= due => {}
                Some(known) => {
                    state.later.remove(&known);
                    state.later.insert((due, key));
                }
                None => {
                    state.later.insert((due, key));
                }
            }
        });
        self.changed.notify_one();
    }

    /// The next Stage, which is busy until [`Queue::done`] is called for it. Waits when there is none.
    pub async fn next(&self) -> StageKey {
        loop {
            let (found, due) = self.with(|state| {
                state.promote_due(Instant::now());
                (state.take(), state.later.first().map(|(due, _)| *due))
            });
            if let Some(key) = found {
                return key;
            }
            let changed = self.changed.notified();
            match due {
                Some(due) => {
                    tokio::select! { biased; () = changed => {}, () = tokio::time::sleep_until(due) => {} }
                }
                None => changed.await,
            }
        }
    }

    /// A handler is done with a Stage; if it was pushed meanwhile, it is waiting again.
    pub fn done(&self, key: &StageKey) {
        self.with(|state| {
            if state.busy.remove(key) == Some(true) {
                state.enqueue(key.clone());
            }
        });
        self.changed.notify_one();
    }

    /// How many Stages wait, are due later, or are being handled.
    pub fn len(&self) -> usize {
        self.with(|state| {
            state.waiting.values().map(VecDeque::len).sum::<usize>() + state.later.len() + state.busy.len()
        })
    }

    /// Whether nothing waits and nobody has anything in hand.
    pub fn is_calm(&self) -> bool {
        self.with(|state| state.waiting.is_empty() && state.busy.is_empty())
    }

    /// Whether there is nothing to do, now or later.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn with<T>(&self, f: impl FnOnce(&mut State) -> T) -> T {
        f(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl State {
    fn enqueue(&mut self, key: StageKey) {
        if let Some(again) = self.busy.get_mut(&key) {
            *again = true;
            return;
        }
        let stages = self.waiting.entry(key.project.clone()).or_default();
        if stages.contains(&key.stage) {
            return;
        }
        if stages.is_empty() {
            self.turns.push_back(key.project);
        }
        stages.push_back(key.stage);
    }

    fn promote_due(&mut self, now: Instant) {
        while let Some((due, key)) = self.later.first().cloned() {
            if due > now {
                return;
            }
            self.later.remove(&(due, key.clone()));
            self.enqueue(key);
        }
    }

    fn take(&mut self) -> Option<StageKey> {
        let project = self.turns.pop_front()?;
        let stages = self.waiting.get_mut(&project)?;
        let stage = stages.pop_front()?;
        if stages.is_empty() {
            self.waiting.remove(&project);
        } else {
            self.turns.push_back(project.clone());
        }
        let key = StageKey { project, stage };
        self.busy.insert(key.clone(), false);
        Some(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(project: &str, stage: &str) -> StageKey {
        StageKey { project: project.into(), stage: stage.into() }
    }

    #[tokio::test(start_paused = true)]
    async fn projects_take_turns_however_much_one_of_them_has() {
        let queue = Queue::default();
        for n in 0..3 {
            queue.push(key("loud", &n.to_string()));
        }
        queue.push(key("quiet", "a"));
        let mut order = Vec::new();
        for _ in 0..4 {
            order.push(queue.next().await.project.to_string());
        }
        assert_eq!(order, ["loud", "quiet", "loud", "loud"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_busy_stage_comes_back_once_when_pushed_meanwhile() {
        let queue = Queue::default();
        queue.push(key("p", "s"));
        let taken = queue.next().await;
        queue.push(taken.clone());
        queue.push(taken.clone());
        queue.done(&taken);
        assert_eq!(queue.next().await, taken);
        queue.done(&taken);
        assert!(queue.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_due_later_comes_when_it_is_due() {
        let queue = Queue::default();
        let start = Instant::now();
        queue.push_at(key("p", "s"), start + std::time::Duration::from_secs(600));
        queue.push_at(key("p", "s"), start + std::time::Duration::from_secs(900));
        queue.next().await;
        assert_eq!(start.elapsed().as_secs(), 600);
    }
}
