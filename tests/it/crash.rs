//! `kill -9` at every step of handling a failure: whatever dies where, the Stage gets one Promotion.
//! The list of steps is the controller's own enum, matched without a catch-all: a step without an expectation here does
//! not compile. Promotions are counted from the API server's audit log.

use futures::future::try_join_all;
use kargo_model::Script;
use kargo_model::script::{Attempts, VerificationOutcome};
use policy_controller::steps::Step;
use policy_tests::apiserver;
use policy_tests::stage_play::{NEW, STAGE, Setting, StagePlay, text};
use policy_tests::until;
use serde_json::json;

/// What is left behind by a death after a step.
struct Expected {
    /// Promotions created by both replicas together.
    promotions: usize,
    /// DecisionRecords: one more than needed when the first one was written and nothing refers to it.
    records: usize,
}

fn expected(step: Step) -> Expected {
    let records = match step {
        Step::Detected | Step::Opened | Step::Settled | Step::Gathered | Step::Decided => 1,
        Step::Recorded | Step::Told => 2,
        Step::Planned
        | Step::Rehearsed
        | Step::Claimed
        | Step::Freshened
        | Step::Created
        | Step::Counted
        | Step::Attached
        | Step::Followed
        | Step::Closed => 1,
    };
    Expected { promotions: 1, records }
}

#[tokio::test]
async fn a_death_after_any_step_leads_to_one_promotion() -> anyhow::Result<()> {
    let mut table = try_join_all(Step::ALL.iter().map(|step| dies_after(*step))).await?;
    table.sort();
    for row in table {
        println!("{row}");
    }
    Ok(())
}

async fn dies_after(step: Step) -> anyhow::Result<String> {
    let server = apiserver::shared().await?;
    let script = Script::new().verification(STAGE, NEW, Attempts::Any, VerificationOutcome::Fail);
    let project = format!("dies-{}", step.text());
    let play = StagePlay::open(server, &project, script, Setting::default()).await?;
    play.freight(NEW, 2).await?;
    let policy = json!({"chain": [{"name": "back", "builtin": "rollback-last-verified"}],
        "allowedActions": ["rollback", "notify", "escalate", "accept", "wait", "record", "emit-event", "hand-off"]});
    play.policy("back", &policy).await?;
    let first = play.replica("first", &["--kill-after", step.text()])?;
    play.condition("back", "Accepted", "True").await?;
    play.promote(NEW).await?;
    until(&format!("the first replica dies after `{}`", step.text()), || async { Ok(first.ended()) }).await?;
    let second = play.replica("second", &[])?;
    let incident = play.closed().await?;
    let log = || format!("{}{}", first.tail(20), second.tail(40));
    anyhow::ensure!(
        text(&incident, "/status/closed/resolution") == "RolledBack",
        "after `{}`: {incident:#}\n{}",
        step.text(),
        log()
    );
    let wanted = expected(step);
    let creates = play.deliveries().await?;
    creates.expect(wanted.promotions)?;
    let records = play.ours("DecisionRecord", "decisionrecords").await?;
    // What a busy server gave up is tried again, and a decision that is tried again is recorded again.
    let given_up = play.audit()?.filter(|request| request.code >= 500).len();
    anyhow::ensure!(
        (wanted.records..=wanted.records + given_up).contains(&records.len()),
        "{} records after `{}`: {records:#?}\n{}",
        records.len(),
        step.text(),
        log()
    );
    let position = Step::ALL.iter().position(|one| *one == step).unwrap_or_default();
    Ok(format!("{position:>2} {:<10} {} Promotion, {} record(s)", step.text(), creates.len(), records.len()))
}
