//! Virtual time on a real API server: time stands still while anybody is at work, and jumps while everybody waits.
//! In: clients, inside of a tokio runtime whose clock is paused. Out: the same clients, which hold time while a request of
//! theirs is under way and for a moment after it, in which watches bring what came of it. tokio moves a paused clock on
//! only while no blocking task runs, so one blocking task that waits for quiet is all there is to it.
//! It must not hold time for watches, which are always under way.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use http::Request;
use http_body_util::BodyExt as _;
use jiff::Timestamp;
use kube::Client;
use kube::client::Body;
use simulator::clock::VirtualClock;

/// How long it must be quiet before time moves on: many times what an event takes from one write to all watches.
const QUIET: Duration = Duration::from_millis(50);

/// Holds time for the requests of all clients that it was given. Clones hold it together.
#[derive(Clone)]
pub(crate) struct HeldTime(Arc<Shared>);

struct Shared {
    clock: VirtualClock,
    /// The time at the last request, in milliseconds, for threads outside of the runtime.
    shown: AtomicI64,
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    n_under_way: usize,
    last: Instant,
    is_held: bool,
}

impl HeldTime {
    /// Time that begins now, in this runtime, with the real time of day.
    pub(crate) fn new() -> Self {
        let now = Timestamp::now();
        Self(Arc::new(Shared {
            clock: VirtualClock::starting_at(now),
            shown: AtomicI64::new(now.as_millisecond()),
            state: Mutex::new(State { n_under_way: 0, last: Instant::now(), is_held: false }),
            changed: Condvar::new(),
        }))
    }

    /// The clock.
    pub(crate) fn clock(&self) -> VirtualClock {
        self.0.clock
    }

    /// The time of day at the last request: for threads outside of the runtime, which answer requests.
    pub(crate) fn shown(&self) -> Timestamp {
        Timestamp::from_millisecond(self.0.shown.load(Ordering::SeqCst)).unwrap_or_default()
    }

    /// The same client, whose requests hold time.
    pub(crate) fn holding(&self, inner: Client) -> Client {
        let held = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let (held, inner) = (held.clone(), inner.clone());
            async move {
                let is_watch = request.uri().query().is_some_and(|query| query.contains("watch=true"));
                let under_way = held.begin();
                let response = inner.send(request).await?;
                // The answer to a watch never ends.
                let mut under_way = Some(under_way).filter(|_| !is_watch);
                Ok::<_, kube::Error>(response.map(|body| {
                    body.map_frame(move |frame| {
                        if let Some(under_way) = &mut under_way {
                            under_way.goes_on();
                        }
                        frame
                    })
                }))
            }
        });
        Client::new(service, "default")
    }

    /// A request begins: from now on time stands still.
    fn begin(&self) -> UnderWay {
        self.0.shown.store(self.0.clock.now().as_millisecond(), Ordering::SeqCst);
        let mut state = self.0.lock();
        state.n_under_way += 1;
        if !state.is_held {
            state.is_held = true;
            let shared = Arc::clone(&self.0);
            tokio::task::spawn_blocking(move || shared.wait_for_quiet());
        }
        UnderWay(Arc::clone(&self.0))
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait_for_quiet(&self) {
        let mut state = self.lock();
        loop {
            let rest = QUIET.saturating_sub(state.last.elapsed());
            if state.n_under_way == 0 && rest.is_zero() {
                state.is_held = false;
                return;
            }
            let wait = if state.n_under_way == 0 { rest } else { QUIET };
            let waited = self.changed.wait_timeout(state, wait);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// A request that is under way until this is dropped.
struct UnderWay(Arc<Shared>);

impl UnderWay {
    fn goes_on(&mut self) {
        self.0.lock().last = Instant::now();
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.n_under_way = state.n_under_way.saturating_sub(1);
        state.last = Instant::now();
        drop(state);
        self.0.changed.notify_all();
    }
}
