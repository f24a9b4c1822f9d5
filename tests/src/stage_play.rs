//! A Project with one Stage, two pieces of Freight, a stand-in for Kargo, and `refloat controller` processes on it.
//! In: a shared API server, a Project's name, a [`Script`] that says how things end. Out: what people could see: objects
//! of the cluster, and the audit log's word on who wrote what. Every play has its own Project and Lease, so that plays
//! share a server. It must not look into the controller.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};
use kargo_model::object;
use kargo_model::{Kind, ObjectKey, Script};
use kube::Client;
use kube::api::{Api, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use crate::apiserver::{ADMIN, ALICE, ApiServer, REFLOAT, User};
use crate::audit::{Mark, Requests};
use crate::captured;
use crate::kargo::{KargoStandIn, api, create, get};
use crate::rights::{Grant, rule};
use crate::until;

/// The older Freight, deployed and verified when a play begins.
pub const OLD: &str = "bf95772b8c1b188c8e4b98a22366778f5be78404";
/// The newer Freight, whose delivery fails.
pub const NEW: &str = "72b1975b2eeac46e96e63aabc0e0c68ec4e84846";
/// The Stage.
pub const STAGE: &str = "prod";

const KARGO: &str = "kargo.akuity.io/v1alpha1";
const OURS: &str = "refloat.dev/v1alpha1";

/// A Project on stage.
pub struct StagePlay<'a> {
    pub(crate) server: &'a ApiServer,
    /// The Project.
    pub project: String,
    /// Kargo.
    pub kargo: KargoStandIn,
    admin: Client,
    mark: Mark,
}

/// What a play begins with.
#[derive(Clone, Debug, Default)]
pub struct Setting {
    /// Whether Kargo promotes new Freight by itself.
    pub auto_promotion: bool,
    /// Rights that the Project's account lacks, such as `promote`.
    pub without: Vec<&'static str>,
}

impl<'a> StagePlay<'a> {
    /// Sets the scene: `OLD` is deployed and verified, the Project's account has its rights, and the audit log counts
    /// from here on.
    ///
    /// # Errors
    /// When the server refuses something, or Kargo's stand-in does not get there.
    pub async fn open(
        server: &'a ApiServer,
        project: &str,
        script: Script,
        setting: Setting,
    ) -> anyhow::Result<Self> {
        let admin = server.client(ADMIN).await?;
        ours_installed(server, &admin).await?;
        let kargo = KargoStandIn::start(server, project, script).await?;
        let mut play =
            Self { server, project: project.to_owned(), kargo, admin, mark: server.audit().mark()? };
        play.furnish(&setting).await?;
        play.grant(&setting).await?;
        // With auto-promotion on, Kargo does it: a second Promotion by hand would sometimes come first.
        if !setting.auto_promotion {
            play.promote(OLD).await?;
        }
        play.verified(OLD, "Successful").await?;
        play.mark = server.audit().mark()?;
        Ok(play)
    }

    fn object(&self, kind: &str, name: &str, rest: &Value) -> Value {
        let mut object = json!({"apiVersion": KARGO, "kind": kind,
            "metadata": {"name": name, "namespace": self.project}});
        kargo_model::merge::apply(&mut object, rest);
        object
    }

    async fn furnish(&self, setting: &Setting) -> anyhow::Result<()> {
        let subscription = json!({"image": {"repoURL": "registry.example.com/shop/web"}});
        let warehouse = json!({"spec": {"freightCreationPolicy": "Manual", "interval": "24h0m0s",
            "subscriptions": [subscription]}});
        create(&self.admin, &self.object("Warehouse", "web", &warehouse)).await?;
        let policy = json!({"spec": {"promotionPolicies": [
            {"stageSelector": {"name": STAGE}, "autoPromotionEnabled": setting.auto_promotion}]}});
        create(&self.admin, &self.object("ProjectConfig", &self.project, &policy)).await?;
        self.freight(OLD, 1).await?;
        let stage = json!({"spec": {
        "verification": {"analysisTemplates": [{"name": "smoke"}]},
        "requestedFreight": [{"origin": {"kind": "Warehouse", "name": "web"}, "sources": {"direct": true}}],
        "promotionTemplate": {"spec": {"steps": [
            {"uses": "compose-output", "as": "render", "config": {"revision": "${{ ctx.targetFreight.name }}"}},
            {"uses": "http", "as": "deploy", "config": {"url": "http://127.0.0.1:9/deploy", "method": "POST"}},
        ]}}}});
        create(&self.admin, &self.object("Stage", STAGE, &stage)).await?;
        Ok(())
    }

    /// New Freight appears, of that name among the captured Freight.
    ///
    /// # Errors
    /// When the server refuses it.
    pub async fn freight(&self, name: &str, minute: u32) -> anyhow::Result<()> {
        let mut rest = captured::freight(name)?;
        object::put(&mut rest, &["discoveredAt"], json!(format!("2026-11-23T06:{minute:02}:00Z")));
        create(&self.admin, &self.object("Freight", name, &rest)).await?;
        Ok(())
    }

    async fn grant(&self, setting: &Setting) -> anyhow::Result<()> {
        let kargo = "kargo.akuity.io";
        let may = |user: &str, name: &str, rules| Grant {
            name: format!("{}-{name}", self.project),
            namespace: Some(self.project.clone()),
            user: User::new(user),
            rules,
        };
        let mut stages = vec!["get", "list", "patch", "promote"];
        let mut promotions = vec!["create", "get", "list", "patch"];
        stages.retain(|verb| !setting.without.contains(verb));
        promotions.retain(|verb| !setting.without.contains(verb));
        let account = format!("system:serviceaccount:{}:refloat", self.project);
        let rules = vec![rule(kargo, &["promotions"], &promotions), rule(kargo, &["stages"], &stages)];
        may(&account, "account", rules).apply(&self.admin).await?;
        let person = vec![
            rule(kargo, &["promotions"], &["create", "get", "patch"]),
            rule(kargo, &["stages"], &["get", "patch", "promote"]),
        ];
        may(ALICE, "alice", person).apply(&self.admin).await
    }

    /// A person promotes Freight.
    ///
    /// # Errors
    /// When Kargo refuses.
    pub async fn promote(&self, freight: &str) -> anyhow::Result<String> {
        self.promote_labelled(freight, &json!({})).await
    }

    /// The same with labels of the person's own.
    ///
    /// # Errors
    /// When Kargo refuses.
    pub async fn promote_labelled(&self, freight: &str, labels: &Value) -> anyhow::Result<String> {
        let promotion = json!({"apiVersion": KARGO, "kind": "Promotion",
            "metadata": {"namespace": self.project, "generateName": "p-", "labels": labels},
            "spec": {"stage": STAGE, "freight": freight, "steps": [{"uses": "fail"}]}});
        let created = create(&self.server.client(ALICE).await?, &promotion).await?;
        Ok(text(&created, "/metadata/name"))
    }

    /// Waits until the Stage holds `freight` and its newest verification ended like that.
    ///
    /// # Errors
    /// When it does not within the deadline.
    pub async fn verified(&self, freight: &str, phase: &str) -> anyhow::Result<()> {
        until(&format!("`{}` holds {freight} verified {phase}", self.project), || async {
            let stage = self.stage().await?;
            Ok(text(&stage, "/status/freightHistory/0/items/Warehouse~1web/name") == freight
                && text(&stage, "/status/freightHistory/0/verificationHistory/0/phase") == phase)
        })
        .await
    }

    /// The Stage as it is.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn stage(&self) -> anyhow::Result<Value> {
        get(&self.admin, &ObjectKey::new(Kind::Stage, &self.project, STAGE)).await
    }

    /// Promotions of the Stage in the order of their names.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn promotions(&self) -> anyhow::Result<Vec<Value>> {
        let list = api(&self.admin, Kind::Promotion, &self.project).list(&ListParams::default()).await?;
        let mut promotions: Vec<Value> =
            list.items.iter().map(serde_json::to_value).collect::<Result<_, _>>()?;
        promotions.sort_by_key(|promotion| text(promotion, "/metadata/name"));
        Ok(promotions)
    }

    /// Objects of one of our own kinds in the Project.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn ours(&self, kind: &str, plural: &str) -> anyhow::Result<Vec<Value>> {
        let list = self.ours_api(kind, plural).list(&ListParams::default()).await?;
        Ok(list.items.iter().map(serde_json::to_value).collect::<Result<_, _>>()?)
    }

    /// A person deletes one of these.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn delete_ours(&self, kind: &str, plural: &str, name: &str) -> anyhow::Result<()> {
        self.ours_api(kind, plural).delete(name, &kube::api::DeleteParams::default()).await?;
        Ok(())
    }

    /// Creates one of our own objects in the Project; `rest` is merged into it.
    ///
    /// # Errors
    /// When the server refuses it.
    pub async fn create_ours(
        &self,
        kind: &str,
        plural: &str,
        name: &str,
        rest: &Value,
    ) -> anyhow::Result<()> {
        let mut object = json!({"apiVersion": OURS, "kind": kind,
            "metadata": {"name": name, "namespace": self.project}});
        kargo_model::merge::apply(&mut object, rest);
        let object: DynamicObject = serde_json::from_value(object)?;
        self.ours_api(kind, plural).create(&PostParams::default(), &object).await?;
        Ok(())
    }

    fn ours_api(&self, kind: &str, plural: &str) -> Api<DynamicObject> {
        let resource = ours_resource(kind, plural);
        Api::namespaced_with(self.admin.clone(), &self.project, &resource)
    }

    /// Events of the Project by reason, with their texts.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn events(&self) -> anyhow::Result<Vec<(String, String)>> {
        let events: Api<k8s_openapi::api::core::v1::Event> =
            Api::namespaced(self.admin.clone(), &self.project);
        let list = events.list(&ListParams::default()).await?;
        let ours = list.items.into_iter().filter(|event| {
            event.source.as_ref().and_then(|source| source.component.as_deref()) == Some("refloat")
        });
        Ok(ours.map(|event| (event.reason.unwrap_or_default(), event.message.unwrap_or_default())).collect())
    }

    /// Puts a FailurePolicy named `name` in the Project; `spec` without its chain is merged into `{mode: Enforce}`.
    ///
    /// # Errors
    /// When the server refuses it.
    pub async fn policy(&self, name: &str, spec: &Value) -> anyhow::Result<()> {
        self.policy_as(ADMIN, name, spec).await
    }

    /// The same as some user.
    ///
    /// # Errors
    /// When the server refuses it.
    pub async fn policy_as(&self, user: &str, name: &str, spec: &Value) -> anyhow::Result<()> {
        let mut object = json!({"apiVersion": OURS, "kind": "FailurePolicy",
            "metadata": {"name": name, "namespace": self.project}, "spec": {"mode": "Enforce"}});
        kargo_model::merge::apply(&mut object, &json!({"spec": spec}));
        let object: DynamicObject = serde_json::from_value(object)?;
        let resource = ours_resource("FailurePolicy", "failurepolicies");
        let client = self.server.client(user).await?;
        let policies: Api<DynamicObject> = Api::namespaced_with(client, &self.project, &resource);
        policies.create(&PostParams::default(), &object).await?;
        Ok(())
    }

    /// Offers a component to all Projects, as a file that the controller can read.
    ///
    /// # Errors
    /// When the server refuses it.
    pub async fn cluster_module(&self, name: &str, file: &Path) -> anyhow::Result<()> {
        let object = json!({"apiVersion": OURS, "kind": "ClusterPolicyModule", "metadata": {"name": name},
            "spec": {"source": {"file": {"path": file.display().to_string()}}}});
        let object: DynamicObject = serde_json::from_value(object)?;
        let resource = ours_resource("ClusterPolicyModule", "clusterpolicymodules");
        Api::<DynamicObject>::all_with(self.admin.clone(), &resource)
            .create(&PostParams::default(), &object)
            .await?;
        Ok(())
    }

    /// One of our own cluster-wide objects.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn cluster_object(&self, kind: &str, plural: &str, name: &str) -> anyhow::Result<Value> {
        let api: Api<DynamicObject> = Api::all_with(self.admin.clone(), &ours_resource(kind, plural));
        Ok(serde_json::to_value(api.get(name).await?)?)
    }

    /// Merges a patch into a FailurePolicy.
    ///
    /// # Errors
    /// When the server refuses it.
    pub async fn change_policy(&self, name: &str, patch: &Value) -> anyhow::Result<()> {
        let policies = self.ours_api("FailurePolicy", "failurepolicies");
        policies.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await?;
        Ok(())
    }

    /// Waits until a FailurePolicy's condition has that status, and gives its message.
    ///
    /// # Errors
    /// When it does not within the deadline.
    pub async fn condition(&self, policy: &str, type_: &str, status: &str) -> anyhow::Result<String> {
        let policies = self.ours_api("FailurePolicy", "failurepolicies");
        let read = || async {
            let object = serde_json::to_value(policies.get(policy).await?)?;
            let conditions = object.pointer("/status/conditions").and_then(Value::as_array).cloned();
            let found = conditions.unwrap_or_default().into_iter().find(|one| text(one, "/type") == type_);
            anyhow::Ok(found.unwrap_or_default())
        };
        until(&format!("{policy} says {type_}={status}"), || async {
            Ok(text(&read().await?, "/status") == status)
        })
        .await?;
        Ok(text(&read().await?, "/message"))
    }

    /// Waits until there is exactly one Incident and it is closed, and gives it.
    ///
    /// # Errors
    /// When there is none, more than one, or it does not close within the deadline.
    pub async fn closed(&self) -> anyhow::Result<Value> {
        self.all_closed(1).await?.pop().context("an Incident")
    }

    /// Waits until there are exactly `n` Incidents and all are closed, and gives them, oldest failure first.
    ///
    /// # Errors
    /// When there are fewer or more, or one does not close within the deadline.
    pub async fn all_closed(&self, n: usize) -> anyhow::Result<Vec<Value>> {
        until(&format!("{n} incident(s) of `{}` close", self.project), || async {
            let incidents = self.ours("Incident", "incidents").await?;
            Ok(incidents.len() >= n && incidents.iter().all(|one| one.pointer("/status/closed").is_some()))
        })
        .await?;
        let mut incidents = self.ours("Incident", "incidents").await?;
        ensure!(incidents.len() == n, "{} Incidents: {incidents:#?}", incidents.len());
        // Promotions of one second are in the order of their names.
        incidents.sort_by_key(|one| text(one, "/spec/failure/promotion"));
        Ok(incidents)
    }

    /// What the audit log says about this Project since the play was opened.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn audit(&self) -> anyhow::Result<Requests> {
        Ok(self.server.audit().since(self.mark)?.namespace(&self.project))
    }

    /// Writes of the Project's account on Kargo objects, dry runs left out.
    ///
    /// # Errors
    /// When the audit log cannot be read.
    pub fn writes_to_kargo(&self) -> anyhow::Result<Requests> {
        let account = format!("system:serviceaccount:{}:refloat", self.project);
        Ok(self.audit()?.as_actor(&account).group("kargo.akuity.io").writes())
    }
}

/// How one of our own kinds is addressed.
pub fn ours_resource(kind: &str, plural: &str) -> kube::api::ApiResource {
    kube::api::ApiResource {
        group: "refloat.dev".to_owned(),
        version: "v1alpha1".to_owned(),
        api_version: OURS.to_owned(),
        kind: kind.to_owned(),
        plural: plural.to_owned(),
    }
}

/// The text at a JSON Pointer, or an empty one.
pub fn text(value: &Value, pointer: &str) -> String {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// Installs our kinds and what `refloat install` prints, once per server.
pub(crate) async fn ours_installed(server: &ApiServer, admin: &Client) -> anyhow::Result<()> {
    static INSTALLED: tokio::sync::OnceCell<()> = tokio::sync::OnceCell::const_new();
    INSTALLED.get_or_try_init(|| install_ours(server, admin)).await?;
    Ok(())
}

/// Installs on a server that is not shared.
pub(crate) async fn install_ours(server: &ApiServer, admin: &Client) -> anyhow::Result<()> {
    crate::crds::apply_text(admin, &policy_api::crds_yaml(), "refloat crds").await?;
    for object in policy_api::install::objects(&policy_api::install::Install::default()) {
        if text(&object, "/kind") != "Deployment" {
            put(admin, &object).await?;
        }
    }
    let refloat = server.client(REFLOAT).await?;
    until("the installed rights are in force", || async {
        let leases: Api<k8s_openapi::api::coordination::v1::Lease> =
            Api::namespaced(refloat.clone(), "refloat-system");
        let incidents: Api<DynamicObject> =
            Api::all_with(refloat.clone(), &ours_resource("Incident", "incidents"));
        let stages = kube::api::ApiResource {
            group: "kargo.akuity.io".to_owned(),
            version: "v1alpha1".to_owned(),
            api_version: KARGO.to_owned(),
            kind: "Stage".to_owned(),
            plural: "stages".to_owned(),
        };
        let stages: Api<DynamicObject> = Api::all_with(refloat.clone(), &stages);
        let few = ListParams::default().limit(1);
        Ok(leases.get_opt("none").await.is_ok()
            && incidents.list(&few).await.is_ok()
            && stages.list(&few).await.is_ok())
    })
    .await
}

/// Creates an object of the install manifest, whatever its kind.
async fn put(admin: &Client, object: &Value) -> anyhow::Result<()> {
    let object: DynamicObject = serde_json::from_value(object.clone())?;
    let types = object.types.clone().context("a kind")?;
    let kind = kube::core::GroupVersionKind::try_from(&types)?;
    let resource = kube::api::ApiResource::from_gvk(&kind);
    let api: Api<DynamicObject> = match &object.metadata.namespace {
        Some(namespace) => Api::namespaced_with(admin.clone(), namespace, &resource),
        None => Api::all_with(admin.clone(), &resource),
    };
    api.create(&PostParams::default(), &object).await?;
    Ok(())
}

/// The program under test, as cargo built it beside the tests.
///
/// # Errors
/// When it was not built.
pub fn refloat() -> anyhow::Result<PathBuf> {
    let program = crate::cli::built();
    if !program.exists() {
        bail!(
            "`{}` is not there\nhelp: run `cargo build -p refloat` first, or `make test`",
            program.display()
        );
    }
    Ok(program)
}

/// One cache of compiled components for all replicas: they share digests, not state.
///
/// # Errors
/// When the tests do not run from a target folder.
pub fn cache() -> anyhow::Result<PathBuf> {
    let test = std::env::current_exe()?;
    let folder = test.parent().and_then(Path::parent).context("tests run from cargo's target folder")?;
    Ok(folder.join("test-component-cache"))
}
