//! The table of kinds that a server knows, and what differs between them.
//!
//! In: group, version, kind and plural name. Out: how the server treats objects of that kind.
//! Sources: the strategies of kube-apiserver v1.34 (`pkg/registry/*/strategy.go`) and of its extension server
//! (`apiextensions-apiserver/pkg/registry/customresource/strategy.go`).

/// One kind of object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resource {
    /// API group; empty for the core group.
    pub group: String,
    /// Version, such as `v1alpha1`. A server knows each kind in one version.
    pub version: String,
    /// Kind, such as `Stage`.
    pub kind: String,
    /// Plural name in paths, such as `stages`.
    pub plural: String,
    pub(crate) scope: Scope,
    pub(crate) status: Status,
    pub(crate) flavour: Flavour,
}

/// Whether objects live in namespaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    Namespaced,
    Cluster,
}

/// Whether `status` is written through a path of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    Subresource,
    Plain,
}

/// Where the kind comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flavour {
    /// From a CustomResourceDefinition: has a generation, is never updated without a resourceVersion.
    Custom,
    /// Compiled into kube-apiserver: typed, so that empty fields vanish, and without a generation.
    BuiltIn {
        /// Whether a PUT needs a resourceVersion.
        unguarded: Unguarded,
        /// Whether a PUT of something missing creates it.
        missing: Missing,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unguarded {
    Allowed,
    Refused,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Missing {
    Created,
    NotFound,
}

impl Resource {
    /// A namespaced custom resource without a status subresource.
    pub fn custom(group: &str, version: &str, kind: &str, plural: &str) -> Self {
        Self {
            group: group.to_owned(),
            version: version.to_owned(),
            kind: kind.to_owned(),
            plural: plural.to_owned(),
            scope: Scope::Namespaced,
            status: Status::Plain,
            flavour: Flavour::Custom,
        }
    }

    /// The same with a status subresource.
    #[must_use]
    pub fn with_status(self) -> Self {
        Self { status: Status::Subresource, ..self }
    }

    /// The same outside of namespaces.
    #[must_use]
    pub fn cluster_wide(self) -> Self {
        Self { scope: Scope::Cluster, ..self }
    }

    fn built_in(api_version: &str, kind: &str, plural: &str, unguarded: Unguarded, missing: Missing) -> Self {
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        let flavour = Flavour::BuiltIn { unguarded, missing };
        Self { flavour, ..Self::custom(group, version, kind, plural) }
    }

    /// `group/version` as objects carry it.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.clone() } else { format!("{}/{}", self.group, self.version) }
    }

    /// `plural.group`, as messages name it.
    pub(crate) fn qualified(&self) -> String {
        dotted(&self.plural, &self.group)
    }

    pub(crate) fn is_namespaced(&self) -> bool {
        self.scope == Scope::Namespaced
    }

    pub(crate) fn is_custom(&self) -> bool {
        self.flavour == Flavour::Custom
    }

    pub(crate) fn has_status(&self) -> bool {
        self.status == Status::Subresource
    }

    pub(crate) fn allows_unguarded_updates(&self) -> bool {
        matches!(self.flavour, Flavour::BuiltIn { unguarded: Unguarded::Allowed, .. })
    }

    pub(crate) fn creates_on_update(&self) -> bool {
        matches!(self.flavour, Flavour::BuiltIn { missing: Missing::Created, .. })
    }

    pub(crate) fn is(&self, group: &str, plural: &str) -> bool {
        self.plural == plural && self.group == group
    }
}

/// A resource with its number in the server's table, by which its objects are kept.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kind<'a> {
    pub(crate) number: usize,
    pub(crate) resource: &'a Resource,
}

/// `name.group`, or the name alone in the core group.
pub(crate) fn dotted(name: &str, group: &str) -> String {
    if group.is_empty() { name.to_owned() } else { format!("{name}.{group}") }
}

/// The kinds of kube-apiserver itself that every server here knows.
pub fn built_in() -> Vec<Resource> {
    use Missing::{Created, NotFound};
    use Unguarded::{Allowed, Refused};
    let rbac = "rbac.authorization.k8s.io/v1";
    vec![
        Resource::built_in("v1", "Namespace", "namespaces", Allowed, NotFound).cluster_wide(),
        Resource::built_in("v1", "ConfigMap", "configmaps", Allowed, NotFound),
        Resource::built_in("v1", "Secret", "secrets", Allowed, NotFound),
        Resource::built_in("v1", "ServiceAccount", "serviceaccounts", Allowed, NotFound),
        Resource::built_in("v1", "Event", "events", Allowed, Created),
        Resource::built_in("coordination.k8s.io/v1", "Lease", "leases", Refused, Created),
        Resource::built_in(rbac, "Role", "roles", Allowed, Created),
        Resource::built_in(rbac, "RoleBinding", "rolebindings", Allowed, Created),
        Resource::built_in(rbac, "ClusterRole", "clusterroles", Allowed, Created).cluster_wide(),
        Resource::built_in(rbac, "ClusterRoleBinding", "clusterrolebindings", Allowed, Created)
            .cluster_wide(),
    ]
}
