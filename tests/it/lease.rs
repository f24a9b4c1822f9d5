//! The Lease in virtual time: what a new leader learns about the last one, when answers get lost and when leaders end early.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease as Object;
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{Api, PostParams};
use kube_memory::{ApiServer, Arrival, Fate, User, Verb};
use policy_controller::clock::Clock;
use policy_controller::lease::{DURATION, Lease, Wanted};
use policy_core::time::Timestamp;
use serde_json::json;
use tokio::time::Instant;

/// When the last leader gave its Lease up, an hour before each test.
const BEFORE: Timestamp = Timestamp(1_767_323_045);

/// A server with that Lease.
struct Stand {
    server: ApiServer,
    leases: Api<Object>,
    clock: Clock,
}

impl Stand {
    async fn new() -> anyhow::Result<Self> {
        let left = jiff::Timestamp::from_second(i64::from(BEFORE.0))?;
        let (began, epoch) = (Instant::now(), left + Duration::from_secs(3_600));
        let now = move || epoch + began.elapsed();
        let server = ApiServer::new(1, now, []);
        let admin = server.client(&User::admin());
        let namespace = serde_json::from_value(json!({"metadata": {"name": "refloat"}}))?;
        Api::<Namespace>::all(admin.clone()).create(&PostParams::default(), &namespace).await?;
        let lease = json!({"metadata": {"name": "refloat"},
            "spec": {"holderIdentity": "", "renewTime": left.to_string()}});
        let leases = Api::namespaced(admin, "refloat");
        leases.create(&PostParams::default(), &serde_json::from_value(lease)?).await?;
        let clock = Clock::from_fn(move || Timestamp(u32::try_from(now().as_second()).unwrap_or_default()));
        Ok(Self { server, leases, clock })
    }

    fn lease(&self, identity: &str) -> Lease {
        let wanted = Wanted { namespace: "refloat", name: "refloat", identity, duration: DURATION };
        Lease::new(self.server.client(&User::admin()), wanted, self.clock.clone())
    }

    /// A replica leads for a minute, watches or does not, and ends without a word. What it learnt of the one before.
    async fn leads(&self, identity: &str, watches: bool) -> Option<Timestamp> {
        let lease = self.lease(identity);
        let acquired = lease.acquire(|_| {}).await;
        let held = tokio::time::timeout(Duration::from_secs(60), lease.hold(acquired.sent, || watches)).await;
        assert!(held.is_err(), "it lost its Lease");
        acquired.previous
    }
}

#[tokio::test(start_paused = true)]
async fn a_lease_whose_answer_was_lost_is_no_trace_of_another_leader() -> anyhow::Result<()> {
    let stand = Stand::new().await?;
    let mut is_first = true;
    stand.server.set_faults(move |arrival: &Arrival<'_>| {
        let is_lost = arrival.verb == Some(Verb::Update) && std::mem::take(&mut is_first);
        if is_lost { Fate::AnswerLost(Duration::ZERO) } else { Fate::Normal }
    });
    assert_eq!(stand.leads("refloat-2", true).await, Some(BEFORE));
    let holder = stand.leases.get("refloat").await?.spec.and_then(|spec| spec.holder_identity);
    assert_eq!(holder.as_deref(), Some("refloat-2"));
    Ok(())
}

/// As when each runs out of memory before its first lists are complete: nobody has looked for failures since the one before.
#[tokio::test(start_paused = true)]
async fn leaders_that_end_before_they_watch_are_no_sign_of_life() -> anyhow::Result<()> {
    let stand = Stand::new().await?;
    assert_eq!(stand.leads("refloat-2", false).await, Some(BEFORE));
    assert_eq!(stand.leads("refloat-2", false).await, Some(BEFORE), "started again");
    assert_eq!(stand.leads("refloat-3", true).await, Some(BEFORE));
    let watched = stand.leads("refloat-4", false).await;
    assert!(watched.is_some_and(|until| until > BEFORE.plus(3_600)), "{watched:?}");
    Ok(())
}
