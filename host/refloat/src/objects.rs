//! Kargo objects from a text of YAML documents, as snapshots.
//!
//! In: what `kubectl get -o yaml` prints, one document or many. Out: snapshots by kind. Kinds that no decision needs
//! are left out; an object of a kind that is needed and cannot be read is an error that names it and the path.

use policy_api::kargo::convert::{self, Reading};
use policy_api::kargo::{self, ProjectConfig};
use policy_core::name::ProjectName;
use policy_core::snapshot::{
    AnalysisRunSnapshot, FreightSnapshot, ProjectSnapshot, PromotionSnapshot, StageSnapshot,
};
use serde_json::Value;

use crate::exit::CannotRun;

/// Objects by kind.
#[derive(Debug, Default)]
pub(crate) struct Objects {
    /// Promotions, in the order of the text.
    pub(crate) promotions: Vec<PromotionSnapshot>,
    /// Stages.
    pub(crate) stages: Vec<StageSnapshot>,
    /// Freight.
    pub(crate) freight: Vec<FreightSnapshot>,
    /// AnalysisRuns.
    pub(crate) analysis_runs: Vec<AnalysisRunSnapshot>,
    /// What ProjectConfigs say; a Project without one is not in here.
    pub(crate) projects: Vec<ProjectSnapshot>,
}

impl Objects {
    /// Reads every document of `text`, called `name` in messages.
    pub(crate) fn read(text: &str, name: &str) -> Result<Self, CannotRun> {
        let options = serde_saphyr::options! { leading_zero_numbers_as_strings: true, strict_booleans: true };
        let documents: Vec<Value> =
            serde_saphyr::from_multiple_with_options(text, options).map_err(|error| {
                let problem = error.render().lines().next().unwrap_or_default().to_owned();
                CannotRun::new(
                    format!("`{name}` is not YAML: {problem}"),
                    "check indentation, quotes and tabs there",
                )
            })?;
        let mut objects = Self::default();
        for document in &documents {
            objects.add(document).map_err(|error| {
                let help = "give the object as `kubectl get -o yaml` prints it";
                CannotRun::from_error(&error, help).in_file(name)
            })?;
        }
        Ok(objects)
    }

    fn add(&mut self, document: &Value) -> Result<(), convert::ConvertError> {
        match document.get("kind").and_then(Value::as_str).unwrap_or_default() {
            "Promotion" => {
                let promotion = kargo::from_value(document)?;
                self.promotions.push(convert::promotion(&promotion, &Reading::default())?);
            }
            "Stage" => self.stages.push(convert::stage(&kargo::from_value(document)?)?),
            "Freight" => self.freight.push(convert::freight(&kargo::from_value(document)?)?),
            "AnalysisRun" => self.analysis_runs.push(convert::analysis_run(&kargo::from_value(document)?)?),
            "ProjectConfig" => {
                let config: ProjectConfig = kargo::from_value(document)?;
                self.projects.push(convert::project(&config.metadata, Some(&config))?);
            }
            _ => {}
        }
        Ok(())
    }

    /// The Project of that name, with nothing configured unless a ProjectConfig says otherwise.
    pub(crate) fn project(&self, name: &ProjectName) -> ProjectSnapshot {
        let known = self.projects.iter().find(|project| project.name == *name).cloned();
        known.unwrap_or_else(|| ProjectSnapshot { name: name.clone(), ..ProjectSnapshot::default() })
    }
}
