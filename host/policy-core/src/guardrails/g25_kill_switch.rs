//! G25: kill switches. A flag for the cluster; `refloat.dev/ignore: "true"` on the Project's namespace, the Stage or
//! the Promotion.
//!
//! Why: whoever sees automation do harm must be able to stop it with one command, without knowing which policy it
//! was. Checked again right before a write, on fresh snapshots: a switch set after the decision still counts.

use super::Input;
use crate::decision::Action;
use crate::write::Verdict;

/// Refuses writes to Kargo when a switch is set.
pub fn check(action: &Action, input: &Input<'_>) -> Verdict {
    if !action.operation.kind().writes_to_kargo() {
        return Verdict::Allow;
    }
    let failed = input.incident.current.promotion.as_ref();
    let promotion_ignored =
        input.promotions_of_stage().any(|promotion| promotion.ignored && Some(&promotion.name) == failed);
    let place = if input.stopped {
        "for the whole cluster".to_owned()
    } else if input.project.ignored {
        format!("on Project `{}`", input.project.name)
    } else if input.stage.ignored {
        format!("on Stage `{}`", input.stage.name)
    } else if promotion_ignored {
        "on the Promotion that failed".to_owned()
    } else {
        return Verdict::Allow;
    };
    Verdict::Refuse { because: format!("disabled: a kill switch is set {place}") }
}
