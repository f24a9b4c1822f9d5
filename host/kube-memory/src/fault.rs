//! What may go wrong between a client and the server, decided per request by a hook.
//!
//! In: a request that arrives. Out: its [`Fate`].
//! The server carries a fate out exactly; whether it is likely is the business of whoever decides it.

use std::time::Duration;

use crate::authorize::User;
use crate::call::Verb;
use crate::refusal::Refusal;

/// A request that has arrived at the server.
#[derive(Clone, Copy, Debug)]
pub struct Arrival<'a> {
    /// Its place in the order of arrivals, from 1.
    pub number: u64,
    /// Who sent it; impersonation is not looked at yet.
    pub user: &'a User,
    /// What it asks for; `None` for what is no resource.
    pub verb: Option<Verb>,
    /// API group.
    pub group: &'a str,
    /// Plural resource.
    pub resource: &'a str,
    /// Subresource, or empty.
    pub subresource: &'a str,
    /// Namespace, or empty.
    pub namespace: &'a str,
    /// Name in the path, or empty.
    pub name: &'a str,
    /// Whether nothing is to be stored.
    pub dry_run: bool,
}

/// What becomes of a request. Times are tokio's, so that a paused clock skips them.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Fate {
    /// It is carried out and answered at once.
    #[default]
    Normal,
    /// It is answered with this and not carried out.
    Refused(Refusal),
    /// The connection breaks before it is carried out.
    Lost,
    /// It is carried out only after that time. With a shorter `timeout` it is answered with 504 when that is over, and
    /// never carried out.
    Late(Duration),
    /// It is carried out at once, and answered after that time, or with 504 when its `timeout` is shorter.
    AnswerLate(Duration),
    /// It is carried out at once, and after that time the connection breaks without an answer.
    AnswerLost(Duration),
    /// The connection breaks at once, and it is carried out after that time all the same, unless its `timeout` is
    /// shorter: the server enforces that one.
    StoredLate(Duration),
    /// It is carried out and answered at once, and carried out once more after that time.
    Twice(Duration),
    /// A watch tells each change only after that time.
    WatchLags(Duration),
    /// A watch ends like that after that time.
    WatchEnds(Duration, WatchEnd),
}

/// How a watch ends before its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WatchEnd {
    /// The stream closes, as at its timeout.
    Closed,
    /// The connection breaks.
    Broken,
    /// 410: the client has to list again.
    Expired,
    /// Nothing comes any more, and nobody says so.
    Silent,
}

/// Decides what becomes of each request, in the order of arrival.
pub trait Faults: Send {
    /// What becomes of this one.
    fn fate(&mut self, arrival: &Arrival<'_>) -> Fate;
}

impl<F: FnMut(&Arrival<'_>) -> Fate + Send> Faults for F {
    fn fate(&mut self, arrival: &Arrival<'_>) -> Fate {
        self(arrival)
    }
}
