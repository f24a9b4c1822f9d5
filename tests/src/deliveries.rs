//! What the controller has delivered in a play, counted from the audit log.
//!
//! In: a play. Out: the creates of Promotions by the Project's account. It must not ask the program.

use kube_memory::audit::Requests;

use crate::stage_play::StagePlay;

impl StagePlay<'_> {
    /// Creates of Promotions that may have changed something. One that timed out counts unless every Promotion that is
    /// there has a create of its own: a busy server gives up requests that it never carried out, and Refloat asks again.
    ///
    /// # Errors
    /// When the audit log or the Promotions cannot be read.
    pub async fn deliveries(&self) -> anyhow::Result<Requests> {
        let creates = self.writes_to_kargo()?.resource("promotions").verb("create");
        let answered = creates.filter(|request| (200..300).contains(&request.code));
        let promotions = self.promotions().await?;
        let labels = |promotion: &serde_json::Value| promotion.pointer("/metadata/labels").cloned();
        let ours = promotions.iter().filter_map(labels);
        let n_ours = ours.filter(|labels| labels.get(policy_api::names::ATTEMPT).is_some()).count();
        Ok(if n_ours == answered.len() { answered } else { creates })
    }
}
