//! Building a manifest.
//!
//! In: what a policy says about itself. Out: a [`Manifest`]. The host checks it once per component digest.

use crate::{ActionKind, Manifest, Role, Trigger};

impl Manifest {
    /// A decider without settings that wants every trigger and may return no action yet.
    ///
    /// ```
    /// use refloat_policy::{ActionKind, Manifest, Role, Trigger};
    ///
    /// let manifest = Manifest::new("page-db", "1.0.0", "Pages the database team when a migration fails.")
    ///     .triggers([Trigger::PromotionFailed, Trigger::PromotionErrored])
    ///     .actions([ActionKind::Escalate]);
    /// assert_eq!(manifest.role, Role::Decider);
    /// ```
    pub fn new(name: impl Into<String>, version: impl Into<String>, description: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            version: version.into(),
            description: description.into(),
            role: Role::Decider,
            settings_schema: r#"{"type":"object","additionalProperties":false}"#.to_owned(),
            triggers: Vec::new(),
            actions: Vec::new(),
        }
    }

    /// Makes it a modifier: always run, and free to replace what was proposed before it.
    ///
    /// ```
    /// # use refloat_policy::{Manifest, Role};
    /// assert_eq!(Manifest::new("calm", "1.0.0", "Delays retries.").modifier().role, Role::Modifier);
    /// ```
    #[must_use]
    pub fn modifier(self) -> Self {
        Self { role: Role::Modifier, ..self }
    }

    /// Sets the JSON Schema (draft 2020-12) of its settings, usually by `include_str!`.
    ///
    /// ```
    /// # use refloat_policy::Manifest;
    /// let schema = r#"{"type":"object","properties":{"max":{"type":"integer","default":3}}}"#;
    /// let manifest = Manifest::new("retry", "1.0.0", "Retries.").settings_schema(schema);
    /// assert_eq!(manifest.settings_schema, schema);
    /// ```
    #[must_use]
    pub fn settings_schema(self, schema: impl Into<String>) -> Self {
        Self { settings_schema: schema.into(), ..self }
    }

    /// Names the triggers that it wants to be asked about.
    ///
    /// ```
    /// # use refloat_policy::{Manifest, Trigger};
    /// let manifest = Manifest::new("retry", "1.0.0", "Retries.").triggers([Trigger::PromotionErrored]);
    /// assert_eq!(manifest.triggers.len(), 1);
    /// ```
    #[must_use]
    pub fn triggers(self, triggers: impl IntoIterator<Item = Trigger>) -> Self {
        Self { triggers: triggers.into_iter().collect(), ..self }
    }

    /// Names every kind of action that it may ever return; an answer with another kind is a guest fault.
    ///
    /// ```
    /// # use refloat_policy::{ActionKind, Manifest};
    /// let manifest = Manifest::new("retry", "1.0.0", "Retries.").actions([ActionKind::Retry]);
    /// assert_eq!(manifest.actions, [ActionKind::Retry]);
    /// ```
    #[must_use]
    pub fn actions(self, actions: impl IntoIterator<Item = ActionKind>) -> Self {
        Self { actions: actions.into_iter().collect(), ..self }
    }
}
