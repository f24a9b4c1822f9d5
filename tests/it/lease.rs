//! The Lease when answers get lost: what a new leader learns about the last one.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease as Object;
use kube::api::{Api, PostParams};
use kube_memory::{ApiServer, Arrival, Fate, User, Verb};
use policy_controller::clock::Clock;
use policy_controller::lease::{DURATION, Lease, Wanted};
use policy_core::time::Timestamp;
use serde_json::json;
use tokio::time::Instant;

/// When the last leader was seen alive.
const BEFORE: u32 = 1_767_323_045;

/// An hour after the last leader had given its Lease up, the answer to this replica's first write of it is lost.
#[tokio::test(start_paused = true)]
async fn a_lease_whose_answer_was_lost_is_no_trace_of_another_leader() -> anyhow::Result<()> {
    let (began, epoch) = (Instant::now(), jiff::Timestamp::from_second(i64::from(BEFORE) + 3_600)?);
    let now = move || epoch + began.elapsed();
    let server = ApiServer::new(1, now, []);
    let admin = server.client(&User::admin());
    let namespace = serde_json::from_value(json!({"metadata": {"name": "refloat"}}))?;
    Api::<k8s_openapi::api::core::v1::Namespace>::all(admin.clone())
        .create(&PostParams::default(), &namespace)
        .await?;
    let seen = jiff::Timestamp::from_second(i64::from(BEFORE))?.to_string();
    let left = json!({"metadata": {"name": "refloat"}, "spec": {"holderIdentity": "", "renewTime": seen}});
    let leases: Api<Object> = Api::namespaced(admin.clone(), "refloat");
    leases.create(&PostParams::default(), &serde_json::from_value(left)?).await?;

    let mut is_first = true;
    server.set_faults(move |arrival: &Arrival<'_>| {
        let is_lost = arrival.verb == Some(Verb::Update) && std::mem::take(&mut is_first);
        if is_lost { Fate::AnswerLost(Duration::ZERO) } else { Fate::Normal }
    });
    let clock = Clock::from_fn(move || Timestamp(u32::try_from(now().as_second()).unwrap_or_default()));
    let wanted = Wanted { namespace: "refloat", name: "refloat", identity: "refloat-2", duration: DURATION };
    let acquired = Lease::new(admin, wanted, clock).acquire(|_| {}).await;
    assert_eq!(acquired.previous, Some(Timestamp(BEFORE)));
    let holder = leases.get("refloat").await?.spec.and_then(|spec| spec.holder_identity);
    assert_eq!(holder.as_deref(), Some("refloat-2"));
    Ok(())
}
