//! How long things may go on before they are failures, as a person writes it.
//!
//! In: YAML. Out: texts by name; `crate::select` makes seconds of them, and `crate::accept` says which cannot be read.
//! Names are those of `policy_core::deadlines`, and a test says so.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

macro_rules! durations {
    ($($(#[$doc:meta])* $field:ident,)+) => {
        /// How long things may go on before they are failures. Durations are written like `90s`, `5m`, `2h30m`, `1d`; from
        /// 10s to 90d.
        #[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
        #[serde(rename_all = "camelCase")]
        pub struct Deadlines {
            $(
                $(#[$doc])*
                #[serde(default, skip_serializing_if = "Option::is_none")]
                #[schemars(
                    length(min = 2, max = 20),
                    regex(pattern = "^([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?$")
                )]
                pub $field: Option<String>,
            )+
        }
    };
}

durations! {
    /// `promotion-not-recorded`: how long a Stage may take to record a Promotion that succeeded; default 10m.
    promotion_not_recorded,
    /// `promotion-stalled`: how long one step may run; default 1h.
    promotion_stalled,
    /// `promotion-stalled`: how long a step may show Failed in a Promotion that still runs; default 10m.
    promotion_silent,
    /// `promotion-stalled`: how long a step may wait for a pull request; default 3d.
    pull_request_open,
    /// `promotion-pending-stuck`: how long a Promotion may wait to start; default 1h.
    promotion_pending,
    /// `verification-stuck`: how long a verification may take; default 2h.
    verification_stuck,
    /// `verification-missing`: how long Freight may stay without a verification that can never come; default 1m.
    verification_missing,
    /// `stage-unhealthy`: how long a Stage may be Unhealthy after a success; default 3m.
    stage_unhealthy,
    /// `stage-unhealthy`: how long a Stage may take to become Healthy after a success; default 30m.
    stage_never_healthy,
    /// `stage-health-unknown`: how long its health may be unknown after a success; default 10m.
    stage_health_unknown,
    /// `auto-promotion-blocked`: how long new Freight may lie before a Stage that should take it by itself; default 1h.
    auto_promotion_blocked,
    /// `auto-promotion-blocked`: how old a hold may get while newer Freight waits; default 14d.
    hold_age,
    /// How long an incident may wait for Kargo before people are told that Kargo hangs; default 10m.
    settling,
    /// How long an incident may wait for Kargo at all; then it is handed to people; default 1d.
    give_up,
}

impl Deadlines {
    /// What is set, by name.
    pub fn given(&self) -> BTreeMap<String, String> {
        let value = serde_json::to_value(self).unwrap_or_default();
        serde_json::from_value(value).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_deadline_of_the_core_can_be_set_and_no_other() {
        let all = policy_core::deadlines::Deadlines::KEYS.iter().map(|key| ((*key).to_owned(), "20s"));
        let written: BTreeMap<String, &str> = all.collect();
        let read: Deadlines = serde_json::from_value(serde_json::json!(written)).expect("texts");
        assert_eq!(read.given().into_keys().collect::<Vec<_>>(), written.into_keys().collect::<Vec<_>>());
    }
}
