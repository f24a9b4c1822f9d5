//! What an error answer of the API server to a write on a Kargo object means.
//!
//! In: status, reason, message and details of the answer. Out: a [`Refusal`]: what it is, whether repeating can help,
//! and who has to change what. Observed on v1.11.2 (kargo-live.md 3 and 7): Kargo wraps a missing right, a bad template
//! and an absent webhook into the same 500, and an admission policy says `forbidden` with 422 as well as with 403, so
//! texts have to be read. This is the only place that does it.

use kube::core::Status;

/// What a refusal is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Refusal {
    /// The account lacks `promote` on the Stage.
    PromoteMissing,
    /// The account lacks a right of Kubernetes.
    RightMissing,
    /// An admission policy of the cluster said no: a freeze, most of the time.
    AdmissionPolicy,
    /// The Freight is not available to the Stage, does not exist, or is of another origin.
    FreightNotAvailable,
    /// The Stage does not exist, or has no steps.
    StageUnusable,
    /// A task of the Stage's template does not exist.
    TaskMissing,
    /// The template cannot be turned into steps.
    TemplateBroken,
    /// Kargo's webhook could not be reached.
    WebhookDown,
    /// Something named in the request is not there.
    NotFound,
    /// The object has changed since it was read.
    Conflict,
    /// The API server is busy or ran out of time.
    Busy,
    /// Some other reason why the object is not valid.
    Invalid,
    /// The API server or a webhook failed in a way that is not known here.
    Unexpected,
}

/// What can be done about a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Advice {
    /// The same request may work later.
    Repeat,
    /// Look again and plan anew.
    ReadAgain,
    /// It will not work before somebody changes a right or a template.
    Configuration,
    /// It will not work.
    Permanent,
}

impl Refusal {
    /// What can be done about it.
    pub fn advice(self) -> Advice {
        match self {
            Self::WebhookDown | Self::Busy | Self::Unexpected => Advice::Repeat,
            Self::Conflict => Advice::ReadAgain,
            Self::PromoteMissing | Self::RightMissing | Self::TaskMissing | Self::TemplateBroken => {
                Advice::Configuration
            }
            Self::AdmissionPolicy
            | Self::FreightNotAvailable
            | Self::StageUnusable
            | Self::NotFound
            | Self::Invalid => Advice::Permanent,
        }
    }

    /// Whether the request may have been carried out although the answer is an error: then only a list by the attempt
    /// label, later, can tell.
    pub fn is_doubtful(self) -> bool {
        matches!(self, Self::Busy | Self::Unexpected)
    }

    /// What it is, for people; without a final dot.
    pub fn sentence(self) -> &'static str {
        match self {
            Self::PromoteMissing => "the Project's account may not `promote` this Stage",
            Self::RightMissing => "the Project's account lacks a right",
            Self::AdmissionPolicy => "an admission policy of this cluster does not allow it now",
            Self::FreightNotAvailable => "the Freight is not available to this Stage",
            Self::StageUnusable => "the Stage is not there or has no promotion steps",
            Self::TaskMissing => "a task that the Stage's template names does not exist",
            Self::TemplateBroken => "the Stage's template cannot be turned into steps",
            Self::WebhookDown => "Kargo's webhook does not answer",
            Self::NotFound => "the object is not there",
            Self::Conflict => "the object has changed in the meantime",
            Self::Busy => "the API server is busy",
            Self::Invalid => "Kargo does not accept the object",
            Self::Unexpected => "the API server failed in a way that is not known here",
        }
    }
}

/// Reads an error answer to a create or patch of a Kargo object.
pub fn refusal(status: &Status) -> Refusal {
    let message = status.message.as_str();
    match status.code {
        403 if is_admission_policy(message) => Refusal::AdmissionPolicy,
        403 if message.contains("is not permitted to") => Refusal::PromoteMissing,
        401 | 403 => Refusal::RightMissing,
        404 if is_task(status) => Refusal::TaskMissing,
        404 => Refusal::NotFound,
        409 => Refusal::Conflict,
        422 => invalid(status),
        500 => internal(message),
        408 | 429 | 502..=504 => Refusal::Busy,
        400..=499 => Refusal::Invalid,
        _ => Refusal::Unexpected,
    }
}

/// Written by kube-apiserver whatever code the policy asks for.
fn is_admission_policy(message: &str) -> bool {
    message.contains("ValidatingAdmissionPolicy '")
}

fn is_task(status: &Status) -> bool {
    status.message.contains("PromotionTask.kargo.akuity.io")
}

/// A policy's 422 has causes without a field; Kargo's have one.
fn invalid(status: &Status) -> Refusal {
    let causes = status.details.iter().flat_map(|details| &details.causes);
    let fields: Vec<&str> =
        causes.map(|cause| cause.field.as_str()).filter(|field| !field.is_empty()).collect();
    match fields.first() {
        None if is_admission_policy(&status.message) => Refusal::AdmissionPolicy,
        Some(&"spec.freight") => Refusal::FreightNotAvailable,
        Some(&"spec.stage") => Refusal::StageUnusable,
        None | Some(_) => Refusal::Invalid,
    }
}

/// The three kinds of 500.
fn internal(message: &str) -> Refusal {
    if message.contains("is not permitted to") {
        Refusal::PromoteMissing
    } else if message.contains("failed to inflate") || message.contains("missing value for variable") {
        Refusal::TemplateBroken
    } else if message.contains("failed calling webhook") {
        Refusal::WebhookDown
    } else {
        Refusal::Unexpected
    }
}
