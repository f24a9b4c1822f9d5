//! Building a decision: each action is followed by its reason, or the code does not compile into one.
//!
//! In: what to do and why. Out: a [`Decision`] whose actions have ids `a1`, `a2`, ...
//! Nothing here checks what the host checks.

use crate::{
    Action, Answer, Class, Custom, Decision, EmitEvent, Escalate, HandOff, Note, Notify, OnError, Operation,
    Retry, Rollback, RollbackSelector, Wait,
};

/// An action that still lacks its reason: [`Draft::because`] gives it one.
///
/// ```
/// use refloat_policy::Decision;
///
/// let decision = Decision::new().retry(30).or_go_on().because("the registry answered 503");
/// assert_eq!(decision.actions[0].reason, "the registry answered 503");
/// ```
#[derive(Clone, Debug)]
#[must_use = "an action counts once `because` gave it a reason"]
pub struct Draft {
    decision: Decision,
    operation: Operation,
    on_error: OnError,
}

impl Draft {
    /// Carries on with the rest of the list even if this action is refused or fails.
    ///
    /// ```
    /// # use refloat_policy::{Decision, OnError};
    /// let decision = Decision::new().emit_event("GaveUp", "no retries left").or_go_on().because("for the record");
    /// assert_eq!(decision.actions[0].on_error, OnError::Continue);
    /// ```
    pub fn or_go_on(self) -> Self {
        Self { on_error: OnError::Continue, ..self }
    }

    /// Adds the action with its reason, one sentence for people. The first reason is also the decision's explanation
    /// unless [`Decision::explain`] sets another.
    ///
    /// ```
    /// # use refloat_policy::Decision;
    /// let decision = Decision::new().retry(30).because("the registry answered 503");
    /// assert_eq!(decision.explanation, "the registry answered 503");
    /// ```
    pub fn because(self, reason: impl Into<String>) -> Decision {
        let Self { mut decision, operation, on_error } = self;
        let reason = reason.into();
        if decision.explanation.is_empty() {
            decision.explanation.clone_from(&reason);
        }
        let id = decision.unused_id();
        decision.actions.push(Action { id, reason, on_error, operation });
        decision
    }
}

impl Decision {
    /// A decision without actions.
    ///
    /// ```
    /// use refloat_policy::{Decision, Severity};
    ///
    /// let decision = Decision::new()
    ///     .rollback_to_last_verified(None)
    ///     .because("the verification judged this Freight bad")
    ///     .notify(Severity::Warning, "prod went back", "Metric error-rate failed.")
    ///     .because("people should know");
    /// assert_eq!(decision.actions.len(), 2);
    /// ```
    pub fn new() -> Self {
        Self { actions: Vec::new(), explanation: String::new(), state: None, class: None }
    }

    /// Sets the explanation: one or two sentences for people, why this and not something else.
    ///
    /// ```
    /// # use refloat_policy::Decision;
    /// let decision = Decision::new().explain("Known failure.").accept("known").because("it is known");
    /// assert_eq!(decision.explanation, "Known failure.");
    /// ```
    #[must_use]
    pub fn explain(self, explanation: impl Into<String>) -> Self {
        Self { explanation: explanation.into(), ..self }
    }

    /// Keeps a text of at most 4 KiB for the next call of this chain entry in this incident.
    ///
    /// ```
    /// # use refloat_policy::Decision;
    /// let decision = Decision::new().remember("seen once").wait(60, "a second look").because("it may pass");
    /// assert_eq!(decision.state.as_deref(), Some("seen once"));
    /// ```
    #[must_use]
    pub fn remember(self, state: impl Into<String>) -> Self {
        Self { state: Some(state.into()), ..self }
    }

    /// Puts the policy's own classification into the record.
    ///
    /// ```
    /// # use refloat_policy::{Class, Decision};
    /// let decision = Decision::new().classify(Class::Quota).retry(60).because("a rate limit");
    /// assert_eq!(decision.class, Some(Class::Quota));
    /// ```
    #[must_use]
    pub fn classify(self, class: Class) -> Self {
        Self { class: Some(class), ..self }
    }

    /// Promotes the same Freight again, `delay_seconds` from now at the earliest.
    ///
    /// ```
    /// # use refloat_policy::Decision;
    /// let decision = Decision::new().retry(30).because("the registry answered 503");
    /// ```
    pub fn retry(self, delay_seconds: u32) -> Draft {
        self.operate(Operation::Retry(Retry { delay_seconds }))
    }

    /// Promotes the host's last good Freight of `origin`; `None` when the Stage has one origin.
    ///
    /// ```
    /// # use refloat_policy::Decision;
    /// let decision = Decision::new().rollback_to_last_verified(None).because("the Freight is bad");
    /// ```
    pub fn rollback_to_last_verified(self, origin: Option<&str>) -> Draft {
        self.rollback(RollbackSelector::LastVerified, origin)
    }

    /// Promotes earlier Freight of `origin`; `None` when the Stage has one origin.
    ///
    /// ```
    /// # use refloat_policy::{Decision, RollbackSelector};
    /// let decision = Decision::new().rollback(RollbackSelector::Previous, None).because("the Freight is bad");
    /// ```
    pub fn rollback(self, target: RollbackSelector, origin: Option<&str>) -> Draft {
        self.operate(Operation::Rollback(Rollback { target, origin: origin.map(str::to_owned) }))
    }

    /// Asks again `seconds` later, 10 seconds to 14 days, with fresh facts. Nothing after it is carried out.
    ///
    /// ```
    /// # use refloat_policy::Decision;
    /// let decision = Decision::new().wait(120, "health to settle").because("it is too early to tell");
    /// ```
    pub fn wait(self, seconds: u32, cause: impl Into<String>) -> Draft {
        self.operate(Operation::Wait(Wait { seconds, cause: cause.into() }))
    }

    /// Tells people, on every channel that the FailurePolicy declares. For one channel or a key against repetition,
    /// see [`Decision::operate`].
    ///
    /// ```
    /// # use refloat_policy::{Decision, Severity};
    /// let decision = Decision::new().notify(Severity::Info, "prod", "A retry is due.").because("they asked");
    /// ```
    pub fn notify(
        self,
        severity: crate::Severity,
        title: impl Into<String>,
        text: impl Into<String>,
    ) -> Draft {
        let (title, text) = (title.into(), text.into());
        self.operate(Operation::Notify(Notify { channel: None, severity, title, text, dedupe_key: None }))
    }

    /// Writes a Kubernetes Event on the Stage. `reason` is one CamelCase word.
    ///
    /// ```
    /// # use refloat_policy::Decision;
    /// let decision = Decision::new().emit_event("GaveUp", "no retries left").because("for the record");
    /// ```
    pub fn emit_event(self, reason: impl Into<String>, note: impl Into<String>) -> Draft {
        self.operate(Operation::EmitEvent(EmitEvent { reason: reason.into(), note: note.into() }))
    }

    /// Does nothing, on purpose, and closes the incident.
    ///
    /// ```
    /// # use refloat_policy::Decision;
    /// let decision = Decision::new().accept("superseded").because("newer Freight is already current");
    /// ```
    pub fn accept(self, text: impl Into<String>) -> Draft {
        self.operate(Operation::Accept(Note { text: text.into() }))
    }

    /// Pages somebody.
    ///
    /// ```
    /// # use refloat_policy::Decision;
    /// let decision = Decision::new().escalate("prod is down", "No good Freight.").because("nobody else can help");
    /// ```
    pub fn escalate(self, title: impl Into<String>, text: impl Into<String>) -> Draft {
        self.operate(Operation::Escalate(Escalate { title: title.into(), text: text.into() }))
    }

    /// Leaves it to a person, a team or another engine, and closes the incident.
    ///
    /// ```
    /// # use refloat_policy::Decision;
    /// let decision = Decision::new().hand_off("team-db", "A migration failed.").because("it is theirs");
    /// ```
    pub fn hand_off(self, to: impl Into<String>, note: impl Into<String>) -> Draft {
        self.operate(Operation::HandOff(HandOff { to: to.into(), note: note.into() }))
    }

    /// Keeps facts in the record.
    ///
    /// ```
    /// # use refloat_policy::Decision;
    /// let decision = Decision::new().record([("team", "db")]).because("the weekly report counts them");
    /// ```
    pub fn record<K: Into<String>, V: Into<String>>(self, facts: impl IntoIterator<Item = (K, V)>) -> Draft {
        let facts = facts.into_iter().map(|(key, value)| (key.into(), value.into())).collect();
        self.operate(Operation::Record(facts))
    }

    /// An action with a published schema: its kind and its parameters as JSON.
    ///
    /// ```
    /// # use refloat_policy::Decision;
    /// let decision = Decision::new().custom("ticket", r#"{"queue":"ops"}"#).because("a person has to look");
    /// ```
    pub fn custom(self, kind: impl Into<String>, json: impl Into<String>) -> Draft {
        self.operate(Operation::Custom(Custom { kind: kind.into(), json: json.into() }))
    }

    /// Any operation of the contract; the methods above are short forms of this one.
    ///
    /// ```
    /// # use refloat_policy::{AbortPromotion, Decision, Operation};
    /// let abort = Operation::AbortPromotion(AbortPromotion { name: None });
    /// let decision = Decision::new().operate(abort).because("it makes no progress");
    /// ```
    pub fn operate(self, operation: Operation) -> Draft {
        Draft { decision: self, operation, on_error: OnError::Stop }
    }

    /// `a1`, `a2`, ...: the first one that no action of this decision has, for a decision may begin as another
    /// policy's proposal.
    fn unused_id(&self) -> String {
        let mut number = self.actions.len() + 1;
        while self.actions.iter().any(|action| action.id.strip_prefix('a') == Some(&number.to_string())) {
            number += 1;
        }
        "a".to_owned() + &number.to_string()
    }
}

impl Default for Decision {
    fn default() -> Self {
        Self::new()
    }
}

impl From<Decision> for Answer {
    fn from(decision: Decision) -> Self {
        Self::Decide(decision)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_stay_unique_in_a_proposal_that_is_added_to() {
        let mut decision = Decision::new().retry(1).because("r").accept("x").because("y");
        decision.actions.remove(0);
        let decision = decision.accept("z").because("w");
        let ids: Vec<&str> = decision.actions.iter().map(|action| action.id.as_str()).collect();
        assert_eq!(ids, ["a2", "a3"]);
    }
}
