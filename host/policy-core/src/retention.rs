//! What is kept of the past, and what makes room: DecisionRecords within their bounds, Incidents that are long over.
//!
//! In: what exists, with sizes and ages. Out: names of what may go, in the order in which it goes. Nothing that an
//! open incident may still need is ever among them. Nothing here deletes.

use std::collections::{BTreeMap, BTreeSet};

use crate::name::{IncidentName, ProjectName};
use crate::time::Timestamp;

/// DecisionRecords kept per Stage (product.md 5).
pub const MAX_RECORDS_PER_STAGE: usize = 10;
/// Bytes of DecisionRecords kept per Project (product.md 5).
pub const MAX_PROJECT_BYTES: u64 = 16 * 1024 * 1024;
/// Bytes of DecisionRecords kept in the cluster (product.md 5): an eighth of what etcd holds by default.
pub const MAX_CLUSTER_BYTES: u64 = 256 * 1024 * 1024;
/// Closed Incidents kept per Stage however old they are, and the age after which more of them go. Kargo keeps
/// Promotions by the same two figures (`pkg/garbage/collector.go`, v1.11.2), so an Incident lives as long as what it
/// speaks of.
pub const MIN_INCIDENTS_PER_STAGE: usize = 20;
/// See [`MIN_INCIDENTS_PER_STAGE`]; seconds.
pub const INCIDENT_AGE_SECONDS: u32 = 14 * 86_400;
/// Part of a bound, in percent, above which people are warned.
pub const WARN_PERCENT: u64 = 80;

/// One DecisionRecord.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptRecord {
    /// The Project.
    pub project: ProjectName,
    /// Its name.
    pub name: String,
    /// The Stage, as its label says.
    pub stage: String,
    /// The Incident, as its label says.
    pub incident: IncidentName,
    /// When it was written.
    pub at: Timestamp,
    /// How large it is.
    pub bytes: u64,
}

/// One Incident.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptIncident {
    /// Its name.
    pub name: IncidentName,
    /// When it closed; `None` while it is open.
    pub closed: Option<Timestamp>,
}

/// Records that make room, oldest of closed incidents first. `open` are the incidents that are not closed: of each of
/// them nothing goes, because a delivery may refer to its records.
pub fn records_to_drop(
    records: &[KeptRecord],
    open: &BTreeSet<(ProjectName, IncidentName)>,
) -> Vec<(ProjectName, String)> {
    let mut newest_first: Vec<&KeptRecord> = records.iter().collect();
    newest_first.sort_by(|one, two| (two.at, &two.name).cmp(&(one.at, &one.name)));
    let mut of_stage: BTreeMap<(&ProjectName, &str), usize> = BTreeMap::new();
    let mut of_project: BTreeMap<&ProjectName, u64> = BTreeMap::new();
    let mut of_cluster = 0;
    let mut dropped = Vec::new();
    // Those of open incidents stay, so they take their room first.
    let is_open = |record: &KeptRecord| open.contains(&(record.project.clone(), record.incident.clone()));
    let (stay, may_go): (Vec<&KeptRecord>, Vec<&KeptRecord>) =
        newest_first.into_iter().partition(|record| is_open(record));
    for (record, must_stay) in
        stay.into_iter().map(|record| (record, true)).chain(may_go.into_iter().map(|record| (record, false)))
    {
        let n = of_stage.entry((&record.project, &record.stage)).or_default();
        let bytes = of_project.entry(&record.project).or_default();
        let fits = *n < MAX_RECORDS_PER_STAGE
            && bytes.saturating_add(record.bytes) <= MAX_PROJECT_BYTES
            && record.bytes.saturating_add(of_cluster) <= MAX_CLUSTER_BYTES;
        if must_stay || fits {
            *n += 1;
            *bytes = bytes.saturating_add(record.bytes);
            of_cluster = record.bytes.saturating_add(of_cluster);
        } else {
            dropped.push((record.project.clone(), record.name.clone()));
        }
    }
    dropped.reverse();
    dropped
}

/// Incidents of one Stage that are long over, oldest first.
pub fn incidents_to_drop(incidents: &[KeptIncident], now: Timestamp) -> Vec<IncidentName> {
    let mut closed: Vec<(Timestamp, &IncidentName)> =
        incidents.iter().filter_map(|incident| Some((incident.closed?, &incident.name))).collect();
    closed.sort();
    let spare = closed.len().saturating_sub(MIN_INCIDENTS_PER_STAGE);
    let is_old = |at: Timestamp| now.since(at) > INCIDENT_AGE_SECONDS;
    closed.into_iter().take(spare).filter(|(at, _)| is_old(*at)).map(|(_, name)| name.clone()).collect()
}

/// How full a Project and the cluster are, in percent of their bounds.
pub fn percent(bytes: u64, bound: u64) -> u64 {
    bytes.saturating_mul(100).checked_div(bound).unwrap_or(100)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(stage: &str, number: u32, bytes: u64) -> KeptRecord {
        KeptRecord {
            project: "shop".into(),
            name: format!("{stage}-{number:03}"),
            stage: stage.to_owned(),
            incident: format!("incident-{number}").into(),
            at: Timestamp(number),
            bytes,
        }
    }

    fn names(dropped: &[(ProjectName, String)]) -> Vec<&str> {
        dropped.iter().map(|(_, name)| name.as_str()).collect()
    }

    #[test]
    fn the_oldest_of_a_stage_go_first_and_its_neighbour_keeps_its_own() {
        let mut records: Vec<_> = (0..12).map(|number| record("prod", number, 10)).collect();
        records.push(record("test", 0, 10));
        let dropped = records_to_drop(&records, &BTreeSet::new());
        assert_eq!(names(&dropped), ["prod-000", "prod-001"]);
    }

    #[test]
    fn what_an_open_incident_refers_to_stays() {
        let records: Vec<_> = (0..12).map(|number| record("prod", number, 10)).collect();
        let open = BTreeSet::from([("shop".into(), "incident-0".into())]);
        assert_eq!(names(&records_to_drop(&records, &open)), ["prod-001", "prod-002"]);
    }

    #[test]
    fn a_project_that_is_full_loses_its_oldest() {
        let third = MAX_PROJECT_BYTES / 3;
        let records: Vec<_> = (0..4).map(|number| record(&number.to_string(), number, third)).collect();
        assert_eq!(names(&records_to_drop(&records, &BTreeSet::new())), ["0-000"]);
    }

    #[test]
    fn incidents_stay_two_weeks_and_twenty_of_them_for_ever() {
        let closed = |number: u32| KeptIncident {
            name: format!("i{number:02}").into(),
            closed: Some(Timestamp(number)),
        };
        let mut all: Vec<_> = (0..22).map(closed).collect();
        all.push(KeptIncident { name: "open".into(), closed: None });
        assert_eq!(incidents_to_drop(&all, Timestamp(100)), []);
        let later = Timestamp(INCIDENT_AGE_SECONDS + 2);
        assert_eq!(incidents_to_drop(&all, later), [IncidentName::from("i00"), IncidentName::from("i01")]);
    }
}
