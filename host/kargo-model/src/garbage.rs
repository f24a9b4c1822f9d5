//! What Kargo's garbage collector deletes. In goes the world, out come keys. It must not delete anything.
//! It runs as a job, hourly in the chart (`charts/kargo/values.yaml`, `garbageCollector.schedule`), with the chart's
//! limits. Source: `pkg/garbage/promotions.go`, `pkg/garbage/freight.go`.

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use crate::freight::{Freight, includes};
use crate::object::{name, text};
use crate::promotion::Promotion;
use crate::stage::Stage;
use crate::time::parse;
use crate::world::{Kind, ObjectKey, World};

/// Promotions per Stage, and Freight per Warehouse, that are kept whatever their age.
const RETAINED: usize = 20;
/// Nothing younger goes: two weeks.
const MIN_AGE: SignedDuration = SignedDuration::from_hours(336);

/// What one run of the collector takes from a Project: Promotions more than twenty generations older than the oldest one
/// of their Stage that is not over, and Freight more than twenty generations older than the oldest of its Warehouse that
/// is in use, both only after two weeks. What `freightHistory` still lists may be among it.
pub fn due(world: &World, project: &str) -> Vec<ObjectKey> {
    let stages: Vec<&Value> = world.list(Kind::Stage, project).collect();
    let promotions = stages.iter().flat_map(|stage| {
        let mut all: Vec<&Value> = world.promotions_of(project, name(stage)).collect();
        all.sort_by_key(|one| std::cmp::Reverse(created(one)));
        let last_open = all.iter().rposition(|one| !Promotion(one).phase().is_terminal());
        old(all, last_open, world.now, created)
    });
    let freight = world.list(Kind::Warehouse, project).flat_map(|warehouse| {
        let of_warehouse = |one: &&Value| Freight(one).origin().name == name(warehouse);
        let mut all: Vec<&Value> = world.list(Kind::Freight, project).filter(of_warehouse).collect();
        all.sort_by_key(|one| std::cmp::Reverse(Freight(one).discovered_at()));
        let last_used = all.iter().rposition(|one| is_in_use(&stages, name(one)));
        old(all, last_used, world.now, |one| Freight(one).discovered_at())
    });
    promotions.chain(freight).filter_map(ObjectKey::of).collect()
}

/// Whether any Stage has the Freight right now.
pub(crate) fn is_in_use(stages: &[&Value], freight: &str) -> bool {
    stages
        .iter()
        .any(|stage| Stage(stage).current_collection().is_some_and(|current| includes(current, freight)))
}

fn created(object: &Value) -> Timestamp {
    parse(text(object, &["metadata", "creationTimestamp"])).unwrap_or(Timestamp::UNIX_EPOCH)
}

fn old(
    newest_first: Vec<&Value>,
    last_needed: Option<usize>,
    now: Timestamp,
    age: fn(&Value) -> Timestamp,
) -> impl Iterator<Item = &Value> {
    let kept = last_needed.map_or(0, |last| last + 1) + RETAINED;
    newest_first.into_iter().skip(kept).filter(move |one| now.duration_since(age(one)) >= MIN_AGE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn twenty_are_kept_beyond_the_oldest_open_one_and_none_goes_within_two_weeks() {
        let mut world = World::new("2026-12-20T00:00:00Z".parse().unwrap());
        world.put(json!({"kind": "Stage", "metadata": {"name": "prod", "namespace": "shop"}}));
        for day in 1..=30 {
            let phase = if day == 28 { "Pending" } else { "Succeeded" };
            world.put(json!({"kind": "Promotion", "spec": {"stage": "prod"}, "status": {"phase": phase},
                "metadata": {"name": format!("prod.{day:02}"), "namespace": "shop",
                    "creationTimestamp": format!("2026-11-{day:02}T00:00:00Z")}}));
        }
        let gone = |world: &World| due(world, "shop").into_iter().map(|key| key.name).collect::<Vec<_>>();
        assert_eq!(
            gone(&world),
            ["prod.07", "prod.06", "prod.05", "prod.04", "prod.03", "prod.02", "prod.01"]
        );
        world.now = "2026-11-18T00:00:00Z".parse().unwrap();
        assert_eq!(gone(&world), ["prod.04", "prod.03", "prod.02", "prod.01"]);
    }

    #[test]
    fn freight_in_use_protects_what_came_after_it() {
        let mut world = World::new("2026-12-30T00:00:00Z".parse().unwrap());
        world.put(json!({"kind": "Warehouse", "metadata": {"name": "web", "namespace": "shop"}}));
        let current = json!([{"items": {"Warehouse/web": {"name": "f02"}}}]);
        world.put(json!({"kind": "Stage", "metadata": {"name": "prod", "namespace": "shop"},
            "status": {"freightHistory": current}}));
        for day in 1..=25 {
            world.put(json!({"kind": "Freight", "origin": {"kind": "Warehouse", "name": "web"},
                "metadata": {"name": format!("f{day:02}"), "namespace": "shop"},
                "discoveredAt": format!("2026-11-{day:02}T00:00:00Z")}));
        }
        assert_eq!(due(&world, "shop"), []);
        world.remove(&ObjectKey::new(Kind::Stage, "shop", "prod"));
        let gone: Vec<String> = due(&world, "shop").into_iter().map(|key| key.name).collect();
        assert_eq!(gone, ["f05", "f04", "f03", "f02", "f01"]);
    }
}
