//! Kargo's webhooks, played by its model: as a hook of the API server in memory, and as rules for whoever serves them
//! to a real one.
//!
//! In: what is to be stored or deleted, by whom, and what there is. Out: the object as Kargo leaves it, or its refusal.
//! It must not judge anything: every rule is in `kargo_model::admission`.

use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use kargo_model::admission::{self, Access, AdmissionRequest, Denial};
use kargo_model::{ControlPlane, Kind, SeededIds, World};
use kube_memory::{Admission, Attributes, Operation, Refusal, Review, User};
use serde_json::Value;

use crate::kargo::resource;

/// What the mutating webhook of that kind makes of a request: `None` leaves the object as it is.
///
/// # Errors
/// When it refuses.
pub fn mutate(
    kind: Kind,
    request: &AdmissionRequest,
    world: &World,
    ids: &mut SeededIds,
) -> Result<Option<Value>, Denial> {
    match kind {
        Kind::Promotion => admission::mutate_promotion(request, world, ids).map(Some),
        Kind::Stage => admission::mutate_stage(request, world).map(Some),
        Kind::Freight => Ok(Some(admission::mutate_freight(request, world))),
        _ => Ok(None),
    }
}

/// What the validating webhook of that kind says. `access` is whether the user may promote to the Stage, which is asked
/// about Promotions only.
///
/// # Errors
/// When it refuses.
pub fn validate(kind: Kind, request: &AdmissionRequest, world: &World, access: Access) -> Result<(), Denial> {
    match kind {
        Kind::Promotion => admission::validate_promotion(request, world, access),
        Kind::Stage => admission::validate_stage(request, world),
        Kind::Freight => admission::validate_freight(request, world),
        _ => Ok(()),
    }
}

/// Kargo's webhooks on an API server in memory.
pub struct Webhooks {
    ids: Mutex<SeededIds>,
    clock: Arc<dyn Fn() -> Timestamp + Send + Sync>,
    control_plane: ControlPlane,
}

impl Webhooks {
    /// Webhooks whose ids come from `seed` and whose times from `clock`. They take accounts of `control_plane` for Kargo's
    /// own.
    pub fn new(
        seed: u64,
        clock: Arc<dyn Fn() -> Timestamp + Send + Sync>,
        control_plane: ControlPlane,
    ) -> Self {
        Self { ids: Mutex::new(SeededIds::new(seed)), clock, control_plane }
    }

    /// What the rules may look up: everything of Kargo's in that namespace.
    fn world(&self, review: &Review<'_>) -> World {
        let mut world = World::new((self.clock)());
        world.control_plane = self.control_plane.clone();
        if let Some(namespace) = review.objects.get("", "namespaces", "", review.namespace) {
            world.put(Arc::clone(namespace));
        }
        let kinds = [Kind::Stage, Kind::Freight, Kind::Warehouse, Kind::ProjectConfig, Kind::PromotionTask];
        for kind in kinds {
            let known = resource(kind);
            for found in review.objects.list(&known.group, &known.plural, review.namespace) {
                world.put(Arc::clone(found));
            }
        }
        world
    }

    fn request(review: &Review<'_>, object: Option<&Value>) -> AdmissionRequest {
        AdmissionRequest {
            operation: match review.operation {
                Operation::Create => admission::Operation::Create,
                Operation::Update => admission::Operation::Update,
                Operation::Delete => admission::Operation::Delete,
            },
            user: admission::User {
                name: review.user.name().to_owned(),
                groups: review.user.groups().to_vec(),
            },
            namespace: review.namespace.to_owned(),
            object: object.cloned().unwrap_or(Value::Null),
            old_object: review.old.cloned().unwrap_or(Value::Null),
        }
    }
}

/// The kind of what is reviewed, when Kargo has a webhook for it: not for the status of Stages and Promotions; that of
/// Freight is only validated.
fn hooked(review: &Review<'_>) -> Option<(Kind, &'static str)> {
    let kind = Kind::from_name(&review.resource.kind)?;
    match kind {
        Kind::Promotion if review.subresource.is_empty() => Some((kind, admission::PROMOTION_WEBHOOK)),
        Kind::Stage if review.subresource.is_empty() => Some((kind, admission::STAGE_WEBHOOK)),
        Kind::Freight => Some((kind, admission::FREIGHT_WEBHOOK)),
        _ => None,
    }
}

fn through(webhook: &'static str) -> impl Fn(Denial) -> Refusal {
    move |denial| Refusal::from_status(denial.status_through(webhook))
}

impl Admission for Webhooks {
    fn webhook(&self, review: &Review<'_>) -> Option<String> {
        hooked(review).map(|(_, webhook)| webhook.to_owned())
    }

    fn mutate(&self, review: &Review<'_>, object: &mut Value) -> Result<(), Refusal> {
        let Some((kind, webhook)) = hooked(review) else { return Ok(()) };
        if !review.subresource.is_empty() {
            return Ok(());
        }
        let request = Self::request(review, Some(object));
        let mut ids = self.ids.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(changed) =
            mutate(kind, &request, &self.world(review), &mut ids).map_err(through(webhook))?
        {
            *object = changed;
        }
        match kind {
            // What the CRD's schema would say, which is asked after the mutating webhooks.
            Kind::Promotion => {
                admission::check_promotion(object).map_err(|denial| Refusal::from_status(denial.status()))
            }
            _ => Ok(()),
        }
    }

    fn validate(&self, review: &Review<'_>, object: Option<&Value>) -> Result<(), Refusal> {
        let Some((kind, webhook)) = hooked(review) else { return Ok(()) };
        let request = Self::request(review, object);
        let access = match kind {
            Kind::Promotion => access(review, &request),
            _ => Access::Allowed,
        };
        validate(kind, &request, &self.world(review), access).map_err(through(webhook))
    }
}

/// The SubjectAccessReview about `promote` that Kargo's webhook sends.
fn access(review: &Review<'_>, request: &AdmissionRequest) -> Access {
    let asked = admission::promote_review(request);
    let attributes = Attributes {
        verb: asked.verb.to_owned(),
        group: asked.group.to_owned(),
        resource: asked.resource.to_owned(),
        namespace: asked.namespace.clone(),
        name: asked.name.clone(),
        ..Attributes::default()
    };
    let user = User::with_groups(asked.user.name.clone(), asked.user.groups.clone());
    match review.may(&user, &attributes).is_allowed() {
        true => Access::Allowed,
        false => Access::Denied,
    }
}
