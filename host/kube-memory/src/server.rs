//! The server: clients, hooks, and the way of a request from its arrival to its answer.
//!
//! In: HTTP requests of kube clients. Out: HTTP answers, each carried out under one lock, so that the order of requests
//! is the whole truth about what happened.
//! Must not read a clock: the time that objects carry comes from the caller, waiting is tokio's.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::{Stream, StreamExt as _};
use http::{Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody, combinators::UnsyncBoxBody};
use jiff::Timestamp;
use kube::client::Body;
use tokio::sync::Notify;
use tokio::sync::futures::Notified;
use tower::BoxError;

use crate::admission::Admission;
use crate::answer::{Answer, Hearing};
use crate::audit::Requests;
use crate::authorize::{Authorizer, User};
use crate::call::Call;
use crate::fault::{Arrival, Fate, Faults};
use crate::follow::{News, follow};
use crate::identifiers::Identifiers;
use crate::refusal::Refusal;
use crate::resource::{Resource, built_in};
use crate::store::{Objects, Store};
use crate::trail::{self, Trail};
use crate::write::Webhooks;

/// A Kubernetes API server in memory. Clones are the same server.
#[derive(Clone)]
pub struct ApiServer(Arc<Shared>);

/// What all clients and watches of a server share.
pub(crate) struct Shared {
    pub(crate) resources: Vec<Resource>,
    clock: Box<dyn Fn() -> Timestamp + Send + Sync>,
    /// Told when an object of a kind changes, by the kind's number: most writes concern none of the many watches.
    changed: Vec<Notify>,
    state: Mutex<State>,
}

pub(crate) struct State {
    pub(crate) store: Store,
    pub(crate) identifiers: Identifiers,
    pub(crate) trail: Trail,
    pub(crate) authorizer: Arc<dyn Authorizer>,
    pub(crate) admission: Option<Arc<dyn Admission>>,
    pub(crate) webhooks: Webhooks,
    faults: Option<Box<dyn Faults>>,
    n_arrived: u64,
}

type AnswerBody = UnsyncBoxBody<<Body as http_body::Body>::Data, BoxError>;

/// The connection broke before an answer came.
#[derive(Debug, thiserror::Error)]
#[error("connection closed before the answer was complete")]
struct ConnectionLost;

impl std::fmt::Debug for ApiServer {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "ApiServer at version {}", self.0.with_store(Store::version))
    }
}

impl ApiServer {
    /// A server that knows the built-in kinds ([`built_in`]) and `resources`. Uids and generated names come from
    /// `seed`, the times that objects carry from `clock`. Everybody may do everything until
    /// [`ApiServer::set_authorizer`] says otherwise.
    pub fn new(
        seed: u64,
        clock: impl Fn() -> Timestamp + Send + Sync + 'static,
        resources: impl IntoIterator<Item = Resource>,
    ) -> Self {
        let state = State {
            store: Store::new(),
            identifiers: Identifiers::new(seed),
            trail: Trail::default(),
            authorizer: Arc::new(crate::Everything),
            admission: None,
            webhooks: Webhooks::Up,
            faults: None,
            n_arrived: 0,
        };
        let resources: Vec<Resource> = built_in().into_iter().chain(resources).collect();
        Self(Arc::new(Shared {
            changed: resources.iter().map(|_| Notify::new()).collect(),
            resources,
            clock: Box::new(clock),
            state: Mutex::new(state),
        }))
    }

    /// From now on, this decides who may do what.
    pub fn set_authorizer(&self, authorizer: impl Authorizer + 'static) {
        self.0.lock().authorizer = Arc::new(authorizer);
    }

    /// From now on, these webhooks are asked.
    pub fn set_admission(&self, admission: impl Admission + 'static) {
        self.0.lock().admission = Some(Arc::new(admission));
    }

    /// From now on, webhooks cannot be reached, or they can again. Whatever is carried out meanwhile fails if one is
    /// registered for it, whenever it was sent.
    pub fn set_webhooks_down(&self, down: bool) {
        self.0.lock().webhooks = if down { Webhooks::Down } else { Webhooks::Up };
    }

    /// From now on, this decides what goes wrong.
    pub fn set_faults(&self, faults: impl Faults + 'static) {
        self.0.lock().faults = Some(Box::new(faults));
    }

    /// A client of that user. It must be made inside of a tokio runtime, whose clock it then follows.
    pub fn client(&self, user: &User) -> kube::Client {
        let (shared, user) = (Arc::clone(&self.0), Arc::new(user.clone()));
        let service =
            tower::service_fn(move |request| serve(Arc::clone(&shared), Arc::clone(&user), request));
        kube::Client::new(service, "default")
    }

    /// Looks at the stored objects, without a request.
    pub fn look<T>(&self, look: impl FnOnce(&Objects<'_>) -> T) -> T {
        self.0.with_store(|store| look(&Objects { store, resources: &self.0.resources }))
    }

    /// Follows the objects of a kind, by group and plural, in a namespace, or everywhere when that is empty: first
    /// what is there, then every change. Without a request; a kind that the server does not know has no news.
    pub fn follow(
        &self,
        group: &str,
        plural: &str,
        namespace: &str,
    ) -> impl Stream<Item = News> + Send + use<> {
        let kind = self.0.resources.iter().position(|resource| resource.is(group, plural));
        follow(Arc::clone(&self.0), kind, namespace)
    }

    /// Every request so far.
    pub fn requests(&self) -> Requests {
        self.requests_since(0)
    }

    /// The requests after the first `n` (a count as [`ApiServer::n_requests`] gave it).
    pub fn requests_since(&self, n: usize) -> Requests {
        self.0.lock().trail.since(n)
    }

    /// How many requests there were.
    pub fn n_requests(&self) -> usize {
        self.0.lock().trail.len()
    }

    /// One hash over every request, every answer and every line of every watch, in order.
    pub fn log_hash(&self) -> String {
        self.0.lock().trail.hash()
    }

    /// Forgets earlier versions: whoever asks for one from then on, or watches and is not up to date, gets 410.
    pub fn compact(&self) {
        self.0.lock().store.compact();
    }
}

impl State {
    fn note(&mut self, call: &Call, user: &User, answer: &Answer, now: Timestamp) {
        let mut request = trail::request(call, user.name(), now.to_string());
        request.code = answer.code();
        self.trail.add(call, request, answer);
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // A hook that panicked has changed nothing: objects are stored after the last hook was asked.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn with_store<T>(&self, look: impl FnOnce(&Store) -> T) -> T {
        look(&self.lock().store)
    }

    /// Waits for the next change of an object of that kind, from this call on.
    pub(crate) fn changed(&self, kind: usize) -> Option<Notified<'_>> {
        self.changed.get(kind).map(Notify::notified)
    }

    pub(crate) fn note_watch_line(&self, line: &[u8]) {
        self.lock().trail.note(line);
    }

    fn now(&self) -> Timestamp {
        (self.clock)()
    }

    fn fate(&self, call: &Call, user: &User) -> Fate {
        let mut state = self.lock();
        state.n_arrived = state.n_arrived.saturating_add(1);
        let arrival = Arrival {
            number: state.n_arrived,
            user,
            verb: call.verb,
            group: &call.group,
            resource: &call.resource,
            subresource: &call.subresource,
            namespace: &call.namespace,
            name: &call.name,
            dry_run: call.is_dry_run(),
        };
        state.faults.as_mut().map_or(Fate::Normal, |faults| faults.fate(&arrival))
    }

    /// Carries a request out, at once and completely.
    fn carry_out(&self, call: &Call, user: &User, fate: &Fate) -> Answer {
        let now = self.now();
        let mut state = self.lock();
        let before = state.store.version();
        let hearing = Hearing { state: &mut state, resources: &self.resources, call, fate, now };
        let answer = hearing.answer(user);
        state.note(call, user, &answer, now);
        for kind in state.store.kinds_since(before) {
            if let Some(changed) = self.changed.get(kind) {
                changed.notify_waiters();
            }
        }
        answer
    }

    fn note(&self, call: &Call, user: &User, answer: &Answer) {
        let now = self.now();
        self.lock().note(call, user, answer, now);
    }
}

async fn serve(
    shared: Arc<Shared>,
    user: Arc<User>,
    request: Request<Body>,
) -> Result<Response<AnswerBody>, BoxError> {
    let (parts, body) = request.into_parts();
    let call = Call::new(&parts, body.collect_bytes().await?.to_vec());
    let fate = shared.fate(&call, &user);
    let answer = meet(&shared, &call, &user, fate).await?;
    let response = Response::builder().status(answer.code()).header("content-type", answer.content_type());
    let body = match answer {
        Answer::Watch(watch) => {
            let lines = watch.stream(shared).map(|line| match line {
                Ok(line) => Ok(Frame::data(line.into())),
                Err(broken) => Err(BoxError::from(broken)),
            });
            StreamBody::new(lines).boxed_unsync()
        }
        Answer::Object(..) | Answer::Text(..) => whole(answer.text().into()),
    };
    Ok(response.body(body)?)
}

fn whole(bytes: Vec<u8>) -> AnswerBody {
    Body::from(bytes).map_err(BoxError::from).boxed_unsync()
}

/// Lets a request meet its fate.
async fn meet(shared: &Arc<Shared>, call: &Call, user: &User, fate: Fate) -> Result<Answer, ConnectionLost> {
    let carry_out = || shared.carry_out(call, user, &fate);
    let in_time = |wait: &Duration| call.timeout().is_none_or(|timeout| *wait < timeout);
    let time_out = |call: &Call| {
        let timeout = call.timeout().unwrap_or_default();
        async move {
            tokio::time::sleep(timeout).await;
            Answer::from(Refusal::timeout())
        }
    };
    match &fate {
        Fate::Normal | Fate::WatchLags(_) | Fate::WatchEnds(..) => Ok(carry_out()),
        Fate::Refused(refusal) => {
            let answer = Answer::from(refusal.clone());
            shared.note(call, user, &answer);
            Ok(answer)
        }
        Fate::Lost => Err(ConnectionLost),
        Fate::Late(wait) if in_time(wait) => {
            tokio::time::sleep(*wait).await;
            Ok(carry_out())
        }
        Fate::Late(_) => {
            let answer = time_out(call).await;
            shared.note(call, user, &answer);
            Ok(answer)
        }
        Fate::AnswerLate(wait) => {
            let answer = carry_out();
            if !in_time(wait) {
                return Ok(time_out(call).await);
            }
            tokio::time::sleep(*wait).await;
            Ok(answer)
        }
        Fate::AnswerLost(wait) => {
            carry_out();
            tokio::time::sleep(*wait).await;
            Err(ConnectionLost)
        }
        Fate::StoredLate(wait) => {
            if in_time(wait) {
                carry_out_later(shared, call, user, *wait);
            }
            Err(ConnectionLost)
        }
        Fate::Twice(wait) => {
            let answer = carry_out();
            carry_out_later(shared, call, user, *wait);
            Ok(answer)
        }
    }
}

fn carry_out_later(shared: &Arc<Shared>, call: &Call, user: &User, wait: Duration) {
    let (shared, call, user) = (Arc::clone(shared), call.clone(), user.clone());
    tokio::spawn(async move {
        tokio::time::sleep(wait).await;
        shared.carry_out(&call, &user, &Fate::Normal);
    });
}
