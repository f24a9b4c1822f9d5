//! What goes wrong between the controller and the API server, as a function of a seed.
//!
//! In: requests as they arrive. Out: their fate. Only the controller's requests are disturbed: people see their answers,
//! and what Kargo does when its own requests get lost is not the question.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kube_memory::{Arrival, Fate, Faults, Verb, WatchEnd};
use tokio::sync::Notify;

use crate::ground::{Trouble, replica_group};

/// Longer than any play: what is late by so much never comes.
const NEVER: Duration = Duration::from_secs(365 * 86_400);

#[derive(Debug)]
struct LastWords {
    group: String,
    arrives: bool,
    happened: Arc<Notify>,
}

use crate::scenario::Accident;

/// Disturbs the requests of one user. Clones share what is wrong.
#[derive(Clone, Debug)]
pub struct Disturbance(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    user: &'static str,
    /// Groups of replicas whose requests do not arrive.
    cut_off: BTreeSet<String>,
    last_words: Option<LastWords>,
    /// What becomes of the user's next Promotion.
    next_create: Option<Accident>,
    /// The generator's state; `None` while nothing is disturbed.
    random: Option<u64>,
}

impl Disturbance {
    /// Nothing is wrong yet with the requests of `user`.
    pub fn new(user: &'static str) -> Self {
        Self(Arc::new(Mutex::new(State {
            user,
            cut_off: BTreeSet::new(),
            last_words: None,
            next_create: None,
            random: None,
        })))
    }

    /// From now on it is like this. Webhooks are the server's business.
    pub fn meet(&self, trouble: Trouble) {
        self.with(|state| match trouble {
            Trouble::Webhooks { .. } => {}
            Trouble::Requests { seed } => state.random = Some(seed),
            Trouble::CutOff { replica, cut_off: true } => {
                state.cut_off.insert(replica_group(replica));
            }
            Trouble::CutOff { replica, cut_off: false } => {
                state.cut_off.remove(&replica_group(replica));
            }
            Trouble::NextCreate { accident } => state.next_create = Some(accident),
            Trouble::LastWords { replica, arrives, happened } => {
                state.last_words = Some(LastWords { group: replica_group(replica), arrives, happened });
            }
        });
    }

    fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl State {
    /// SplitMix64 (Steele, Lea, Flood 2014): small, and good enough to choose among a hundred.
    fn draw(&mut self, below: u64) -> Option<u64> {
        let state = self.random.as_mut()?;
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = *state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)).checked_rem(below)
    }

    /// What becomes of a request of a replica that is in trouble.
    fn special(&mut self, arrival: &Arrival<'_>) -> Option<Fate> {
        let groups = arrival.user.groups();
        if groups.iter().any(|group| self.cut_off.contains(group)) {
            return Some(Fate::Lost);
        }
        let is_create = arrival.verb == Some(Verb::Create) && !arrival.dry_run;
        let is_promotion = is_create && arrival.resource == "promotions";
        let last = self.last_words.take_if(|last| is_promotion && groups.contains(&last.group))?;
        last.happened.notify_one();
        self.cut_off.insert(last.group);
        Some(if last.arrives { Fate::AnswerLate(NEVER) } else { Fate::Late(NEVER) })
    }

    /// Out of a hundred requests twenty are late, two get lost, and of two the answer gets lost.
    fn fate(&mut self, is_watch: bool) -> Option<Fate> {
        let (choice, milliseconds) = (self.draw(100)?, self.draw(60)?);
        let pause = Duration::from_millis(milliseconds);
        Some(match (choice, is_watch) {
            (0..5, true) => Fate::WatchEnds(pause.saturating_mul(1_000), WatchEnd::Broken),
            (5..10, true) => Fate::WatchEnds(pause.saturating_mul(1_000), WatchEnd::Expired),
            (10..30, true) => Fate::WatchLags(pause),
            (0..2, false) => Fate::Lost,
            (2..4, false) => Fate::AnswerLost(pause),
            // Within what the API server gives a create, and long after the client gave up.
            (4..5, false) => Fate::StoredLate(pause.saturating_mul(80)),
            (5..25, false) => Fate::Late(pause),
            (_, _) => Fate::Normal,
        })
    }
}

fn happens(accident: Accident) -> Fate {
    const SOON: Duration = Duration::from_millis(20);
    match accident {
        Accident::Lost => Fate::Lost,
        Accident::AnswerLost => Fate::AnswerLost(SOON),
        Accident::StoredLate => Fate::StoredLate(Duration::from_secs(4)),
        Accident::Twice => Fate::Twice(SOON),
    }
}

impl Faults for Disturbance {
    fn fate(&mut self, arrival: &Arrival<'_>) -> Fate {
        let is_watch = arrival.verb == Some(Verb::Watch);
        let is_ours = |state: &State| arrival.user.name() == state.user;
        let is_create =
            arrival.verb == Some(Verb::Create) && arrival.resource == "promotions" && !arrival.dry_run;
        self.with(|state| {
            if let Some(fate) = state.special(arrival) {
                return fate;
            }
            if is_create
                && is_ours(state)
                && let Some(accident) = state.next_create.take()
            {
                return happens(accident);
            }
            let fate = if is_ours(state) { state.fate(is_watch) } else { None };
            fate.unwrap_or_default()
        })
    }
}
