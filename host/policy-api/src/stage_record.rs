//! StageRecords to and from the core's memory of a Stage.
//!
//! In: a StageRecord, or a Stage and its memory. Out: the other one. A field that cannot be read is left out: what is
//! forgotten is found again on the Stage, so nothing here fails.

use kube::api::ObjectMeta;
use policy_core::decision::ActionKind;
use policy_core::guardrails::g23_guest_fault::{Called, FaultTally};
use policy_core::incident::Delivery;
use policy_core::snapshot::StageSnapshot;
use policy_core::stage_memory::{GoodCombination, StageMemory};

use crate::convert::{cut, time, timestamp};
use crate::crd::stage_record::{
    Delivery as DeliveryRecord, FaultCount, GoodFreight, HealthTimers, StageRecord, StageRecordSpec,
    StageRecordStatus,
};
use crate::names;

/// The memory that an object keeps.
pub fn memory(record: &StageRecord) -> StageMemory {
    let Some(status) = &record.status else { return StageMemory::default() };
    let health = status.health.clone().unwrap_or_default();
    StageMemory {
        good: good(&status.last_good),
        deliveries: status.deliveries.iter().filter_map(delivery).collect(),
        faults: status.faults.iter().map(tally).collect(),
        unhealthy_since: health.unhealthy_since.as_ref().map(timestamp),
        unknown_since: health.unknown_since.as_ref().map(timestamp),
        sick_since: health.sick_since.as_ref().map(timestamp),
    }
}

/// A new object for a Stage.
pub fn object(stage: &StageSnapshot) -> StageRecord {
    let name = names::stage_record_name(&stage.name, &stage.uid);
    let label = names::label_value(stage.name.as_str());
    StageRecord {
        metadata: ObjectMeta {
            name: Some(name),
            namespace: Some(stage.project.to_string()),
            labels: Some([(names::STAGE.to_owned(), label)].into()),
            ..ObjectMeta::default()
        },
        spec: StageRecordSpec { stage: stage.name.to_string(), stage_uid: stage.uid.to_string() },
        status: None,
    }
}

/// The status that keeps this memory.
pub fn status(memory: &StageMemory) -> StageRecordStatus {
    let health = HealthTimers {
        unhealthy_since: memory.unhealthy_since.map(time),
        unknown_since: memory.unknown_since.map(time),
        sick_since: memory.sick_since.map(time),
    };
    StageRecordStatus {
        last_good: memory.good.iter().flat_map(good_records).collect(),
        deliveries: memory.deliveries.iter().map(delivery_record).collect(),
        faults: memory.faults.iter().map(fault_count).collect(),
        health: (health != HealthTimers::default()).then_some(health),
    }
}

fn good(records: &[GoodFreight]) -> Option<GoodCombination> {
    let first = records.first()?;
    Some(GoodCombination {
        items: records.iter().map(|one| (one.origin.as_str().into(), one.freight.as_str().into())).collect(),
        verification: first.verification.as_deref().map(Into::into),
        at: first.at.as_ref().map(timestamp).unwrap_or_default(),
    })
}

fn good_records(good: &GoodCombination) -> impl Iterator<Item = GoodFreight> {
    good.items.iter().map(|(origin, freight)| GoodFreight {
        origin: origin.to_string(),
        freight: freight.to_string(),
        verification: good.verification.as_ref().map(ToString::to_string),
        at: Some(time(good.at)),
    })
}

fn delivery(record: &DeliveryRecord) -> Option<Delivery> {
    Some(Delivery {
        at: timestamp(&record.at),
        kind: ActionKind::parse(&record.kind)?,
        incident: record.incident.as_str().into(),
        attempt: record.attempt,
        promotion: record.promotion.as_deref().map(Into::into),
        freight: record.freight.as_deref().map(Into::into),
    })
}

fn delivery_record(delivery: &Delivery) -> DeliveryRecord {
    DeliveryRecord {
        at: time(delivery.at),
        incident: delivery.incident.to_string(),
        attempt: delivery.attempt,
        kind: cut(&delivery.kind.text(), 80),
        promotion: delivery.promotion.as_ref().map(ToString::to_string),
        freight: delivery.freight.as_ref().map(ToString::to_string),
    }
}

fn tally(record: &FaultCount) -> FaultTally {
    FaultTally {
        called: Called { digest: record.digest.clone(), settings: record.settings.clone() },
        count: record.count,
        last: timestamp(&record.last_at),
        message: record.message.clone(),
    }
}

fn fault_count(tally: &FaultTally) -> FaultCount {
    FaultCount {
        digest: tally.called.digest.clone(),
        settings: tally.called.settings.clone(),
        count: tally.count,
        last_at: time(tally.last),
        message: cut(&tally.message, 1024),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use policy_core::time::Timestamp;

    #[test]
    fn a_memory_survives_the_way_there_and_back() {
        let memory = StageMemory {
            good: Some(GoodCombination {
                items: [("Warehouse/a".into(), "f1".into()), ("Warehouse/b".into(), "f2".into())].into(),
                verification: Some("v".into()),
                at: Timestamp(7),
            }),
            deliveries: vec![Delivery {
                at: Timestamp(8),
                kind: ActionKind::Rollback,
                incident: "prod-1".into(),
                attempt: 2,
                promotion: Some("prod.01".into()),
                freight: Some("f1".into()),
            }],
            faults: vec![FaultTally {
                called: Called { digest: "sha256:1".to_owned(), settings: "sha256:2".to_owned() },
                count: 2,
                last: Timestamp(9),
                message: "used up its fuel".to_owned(),
            }],
            unhealthy_since: Some(Timestamp(10)),
            unknown_since: None,
            sick_since: Some(Timestamp(10)),
        };
        let mut record = object(&stage());
        record.status = Some(status(&memory));
        assert_eq!(super::memory(&record), memory);
    }

    fn stage() -> StageSnapshot {
        serde_json::from_value(serde_json::json!({
            "project": "shop", "name": "prod", "uid": "u"
        }))
        .unwrap()
    }
}
