//! Gives users of a test's API server rights, and waits until these are in force.
//! In: an admin's client, a user and RBAC rules. Out: nothing; the user may do that from then on.
//! The server's authorizer follows stored Roles a few milliseconds late: a test that only stores them sometimes
//! fails. Must not be used to take rights away.

use k8s_openapi::api::authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec};
use k8s_openapi::api::rbac::v1::{
    ClusterRole, ClusterRoleBinding, PolicyRule, Role, RoleBinding, RoleRef, Subject,
};
use kube::Client;
use kube::api::{Api, ObjectMeta, PostParams};

use crate::apiserver::User;
use crate::until;

/// Rights for one user.
#[derive(Clone, Debug)]
pub struct Grant {
    /// Name of the Role and of its binding, or of the cluster-wide two.
    pub name: String,
    /// Where; `None` means everywhere.
    pub namespace: Option<String>,
    /// To whom. It need not be registered with the server.
    pub user: User,
    /// What, each rule as built by [`rule`].
    pub rules: Vec<PolicyRule>,
}

/// A rule: these verbs on these plural resources (with an optional `/subresource`) of one API group.
pub fn rule(group: &str, resources: &[&str], verbs: &[&str]) -> PolicyRule {
    let owned = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect();
    PolicyRule {
        api_groups: Some(vec![group.to_owned()]),
        resources: Some(owned(resources)),
        verbs: owned(verbs),
        ..Default::default()
    }
}

impl Grant {
    /// Stores the role and its binding and waits until the server decides by them.
    ///
    /// # Errors
    /// When the server refuses, or does not decide by them within 30 seconds.
    pub async fn apply(&self, admin: &Client) -> anyhow::Result<()> {
        let params = PostParams::default();
        let (metadata, rules) =
            (ObjectMeta { name: Some(self.name.clone()), ..Default::default() }, Some(self.rules.clone()));
        let subjects = Some(vec![Subject {
            api_group: Some("rbac.authorization.k8s.io".to_owned()),
            kind: "User".to_owned(),
            name: self.user.name().to_owned(),
            namespace: None,
        }]);
        if let Some(namespace) = &self.namespace {
            let role = Role { metadata: metadata.clone(), rules };
            let binding = RoleBinding { metadata, subjects, role_ref: self.role_ref("Role") };
            Api::namespaced(admin.clone(), namespace).create(&params, &role).await?;
            Api::namespaced(admin.clone(), namespace).create(&params, &binding).await?;
        } else {
            let role = ClusterRole { metadata: metadata.clone(), rules, aggregation_rule: None };
            let binding = ClusterRoleBinding { metadata, subjects, role_ref: self.role_ref("ClusterRole") };
            Api::all(admin.clone()).create(&params, &role).await?;
            Api::all(admin.clone()).create(&params, &binding).await?;
        }
        for rule in &self.rules {
            until(&format!("`{}` is in force", self.name), || self.in_force(admin, rule)).await?;
        }
        Ok(())
    }

    fn role_ref(&self, kind: &str) -> RoleRef {
        RoleRef {
            api_group: Some("rbac.authorization.k8s.io".to_owned()),
            kind: kind.to_owned(),
            name: self.name.clone(),
        }
    }

    /// One verb on one resource stands for the rule: the server takes a role in as a whole.
    async fn in_force(&self, admin: &Client, rule: &PolicyRule) -> anyhow::Result<bool> {
        let first = |texts: &Option<Vec<String>>| texts.as_ref().and_then(|texts| texts.first()).cloned();
        let resource = first(&rule.resources).unwrap_or_default();
        let (resource, subresource) = resource.split_once('/').unwrap_or((&resource, ""));
        let attributes = ResourceAttributes {
            group: first(&rule.api_groups),
            name: first(&rule.resource_names),
            namespace: self.namespace.clone(),
            resource: Some(resource.to_owned()),
            subresource: Some(subresource.to_owned()),
            verb: rule.verbs.first().cloned(),
            ..Default::default()
        };
        let review = SubjectAccessReview {
            spec: SubjectAccessReviewSpec {
                user: Some(self.user.name().to_owned()),
                groups: Some(self.user.groups().to_owned()),
                resource_attributes: Some(attributes),
                ..Default::default()
            },
            ..Default::default()
        };
        let answer =
            Api::<SubjectAccessReview>::all(admin.clone()).create(&PostParams::default(), &review).await?;
        Ok(answer.status.is_some_and(|status| status.allowed))
    }
}
