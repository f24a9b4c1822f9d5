//! Questions that most policies ask of a context.
//!
//! In: a [`Context`]. Out: facts that stand in it, found. Nothing here decides or guesses: unknown stays `None`.

use crate::{ActionKind, Class, Context, Freight, Retryability, RollbackTarget, Step, Trigger};

impl Context {
    /// The longest pause that any step asks for before the next attempt, in seconds.
    ///
    /// ```
    /// use refloat_policy::testing;
    ///
    /// let mut context = testing::context();
    /// context.hints = vec![testing::hint("push")];
    /// context.hints[0].retry_after_seconds = Some(120);
    /// assert_eq!(context.retry_after_seconds(), Some(120));
    /// ```
    pub fn retry_after_seconds(&self) -> Option<u32> {
        self.hints.iter().filter_map(|hint| hint.retry_after_seconds).max()
    }

    /// The smallest number of attempts that any step allows.
    ///
    /// ```
    /// # use refloat_policy::testing;
    /// assert_eq!(testing::context().hinted_max_attempts(), None);
    /// ```
    pub fn hinted_max_attempts(&self) -> Option<u32> {
        self.hints.iter().filter_map(|hint| hint.max_attempts).min().map(u32::from)
    }

    /// Whether a retry is ruled out: the host or a step says that it needs a change first, or never helps.
    ///
    /// ```
    /// # use refloat_policy::{Retryability, testing};
    /// let mut context = testing::context();
    /// assert!(!context.forbids_retry());
    /// context.classification.retryability = Retryability::NeedsChange;
    /// assert!(context.forbids_retry());
    /// ```
    pub fn forbids_retry(&self) -> bool {
        let forbids = |retry: &Retryability| matches!(retry, Retryability::NeedsChange | Retryability::Never);
        forbids(&self.classification.retryability)
            || self.hints.iter().any(|hint| hint.retry.as_ref().is_some_and(forbids))
    }

    /// Whether a person ended it. Nothing automatic should follow.
    ///
    /// ```
    /// # use refloat_policy::{Class, testing};
    /// let mut context = testing::context();
    /// context.classification.class = Class::UserAbort;
    /// assert!(context.is_user_abort());
    /// ```
    pub fn is_user_abort(&self) -> bool {
        matches!(self.failure.trigger, Trigger::PromotionAborted | Trigger::VerificationAborted)
            || self.classification.class == Class::UserAbort
    }

    /// Whether what failed was itself a rollback.
    ///
    /// ```
    /// # use refloat_policy::testing;
    /// assert!(!testing::context().is_failed_rollback());
    /// ```
    pub fn is_failed_rollback(&self) -> bool {
        self.failure.trigger == Trigger::RollbackFailed
            || self.classification.class == Class::RollbackFailed
            || self.promotion.as_ref().is_some_and(|promotion| promotion.is_rollback)
    }

    /// Alias of the newer Freight that already replaced the failing one, if so.
    ///
    /// ```
    /// # use refloat_policy::testing;
    /// assert_eq!(testing::context().superseded_by(), None);
    /// ```
    pub fn superseded_by(&self) -> Option<&str> {
        let failing = self.freight.failing.as_ref()?;
        let discovered = failing.discovered_unix_seconds?;
        // Times first: they are numbers, and names are long.
        let is_newer = |current: &&Freight| {
            current.discovered_unix_seconds.is_some_and(|time| time > discovered)
                && current.origin == failing.origin
                && current.name != failing.name
        };
        self.freight
            .current
            .iter()
            .find(is_newer)
            .map(|current| current.alias.as_deref().unwrap_or(&current.name))
    }

    /// Where a rollback of the failing Freight's origin would go; of the only origin when the failing Freight is gone.
    ///
    /// ```
    /// # use refloat_policy::testing;
    /// let context = testing::context();
    /// assert_eq!(context.rollback_target().and_then(|target| target.freight.as_deref()), Some("f8"));
    /// ```
    pub fn rollback_target(&self) -> Option<&RollbackTarget> {
        match (&self.freight.failing, self.freight.targets.as_slice()) {
            (Some(failing), targets) => targets.iter().find(|target| target.origin == failing.origin),
            (None, [only]) => Some(only),
            (None, _) => None,
        }
    }

    /// The step that failed first.
    ///
    /// ```
    /// # use refloat_policy::testing;
    /// assert_eq!(testing::context().failed_step().map(|step| step.kind.as_str()), Some("git-push"));
    /// ```
    pub fn failed_step(&self) -> Option<&Step> {
        let alias = self.classification.step.as_deref()?;
        self.promotion.as_ref()?.steps.iter().find(|step| step.alias == alias)
    }

    /// Whether an earlier decision in this incident had such an action, whatever became of it.
    ///
    /// ```
    /// # use refloat_policy::{ActionKind, testing};
    /// assert!(!testing::context().has_tried(&ActionKind::Escalate));
    /// ```
    pub fn has_tried(&self, kind: &ActionKind) -> bool {
        self.incident.decisions.iter().flat_map(|decision| &decision.actions).any(|(tried, _)| tried == kind)
    }

    /// The value of a fact that has no field of its own.
    ///
    /// ```
    /// # use refloat_policy::testing;
    /// let mut context = testing::context();
    /// context.extra.push(("kargo-version".into(), "1.11.2".into()));
    /// assert_eq!(context.extra("kargo-version"), Some("1.11.2"));
    /// ```
    pub fn extra(&self, key: &str) -> Option<&str> {
        self.extra.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
    }
}

#[cfg(test)]
mod tests {
    use crate::testing;

    #[test]
    fn only_freight_that_is_known_to_be_newer_supersedes() {
        let mut context = testing::context();
        context.freight.current = vec![testing::freight("f10", 3_000)];
        assert_eq!(context.superseded_by(), Some("f10"));
        context.freight.current[0].discovered_unix_seconds = None;
        assert_eq!(context.superseded_by(), None);
    }

    #[test]
    fn with_several_origins_and_no_failing_freight_no_target_is_chosen() {
        let mut context = testing::context();
        context.freight.targets.push(context.freight.targets[0].clone());
        assert!(context.rollback_target().is_some());
        context.freight.failing = None;
        assert!(context.rollback_target().is_none());
    }
}
