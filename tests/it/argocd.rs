//! Argo CD Applications in the context of a decision, on a real API server: told is what an Application permits the Stage
//! to know, and what may not be read keeps nobody from deciding.

use anyhow::Context as _;
use kargo_model::Script;
use kargo_model::script::{Attempts, Outcome as Step};
use kube::api::{Api, ApiResource, DynamicObject, Patch, PatchParams, PostParams};
use kube::core::GroupVersionKind;
use policy_api::crd::DecisionRecord;
use policy_api::record::Record;
use policy_tests::apiserver::{self, ADMIN, REFLOAT, User};
use policy_tests::crds;
use policy_tests::rights::{Grant, rule};
use policy_tests::stage_play::{NEW, STAGE, Setting, StagePlay};
use serde_json::{Value, json};

type Outcome = anyhow::Result<()>;

const PROJECT: &str = "argocd-seen";
const ARGOCD: &str = "argocd";
/// As much of Argo CD's definition as is read.
const DEFINITION: &str = "
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: applications.argoproj.io}
spec:
  group: argoproj.io
  scope: Namespaced
  names: {kind: Application, plural: applications, singular: application}
  versions:
  - name: v1alpha1
    served: true
    storage: true
    schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
";

fn application(name: &str, stage: &str) -> Value {
    json!({"apiVersion": "argoproj.io/v1alpha1", "kind": "Application",
        "metadata": {"name": name, "namespace": ARGOCD, "annotations": {"kargo.akuity.io/authorized-stage": stage}},
        "status": {"sync": {"status": "OutOfSync", "revision": "4f2c9a"},
            "health": {"status": "Degraded", "message": "Deployment \"web\" exceeded its progress deadline"}}})
}

async fn furnish(admin: &kube::Client) -> Outcome {
    crds::apply_text(admin, DEFINITION, "Argo CD").await?;
    let namespace = serde_json::from_value(json!({"metadata": {"name": ARGOCD}}))?;
    Api::<k8s_openapi::api::core::v1::Namespace>::all(admin.clone())
        .create(&PostParams::default(), &namespace)
        .await?;
    let kind = GroupVersionKind::gvk("argoproj.io", "v1alpha1", "Application");
    let resource = ApiResource::from_gvk(&kind);
    let api: Api<DynamicObject> = Api::namespaced_with(admin.clone(), ARGOCD, &resource);
    for (name, stage) in [("web", format!("{PROJECT}:{STAGE}")), ("theirs", format!("other:{STAGE}"))] {
        let application = serde_json::from_value(application(name, &stage))?;
        api.create(&PostParams::default(), &application).await?;
    }
    let read = Grant {
        name: "argocd-reader".to_owned(),
        namespace: Some(ARGOCD.to_owned()),
        user: User::new(REFLOAT),
        rules: vec![rule("argoproj.io", &["applications"], &["get"])],
    };
    read.apply(admin).await
}

#[tokio::test]
async fn a_policy_learns_what_argo_cd_says_where_it_may() -> Outcome {
    let server = apiserver::shared().await?;
    let admin = server.client(ADMIN).await?;
    furnish(&admin).await?;
    let error = Step::Error("error sending HTTP request: unexpected status 500".to_owned());
    let script = Script::new().step(STAGE, NEW, Attempts::Any, ("deploy", error));
    let play = StagePlay::open(server, PROJECT, script, Setting::default()).await?;
    let applications = json!([{"name": "web", "namespace": ARGOCD}, {"name": "theirs", "namespace": ARGOCD},
        {"name": "web", "namespace": "elsewhere"}]);
    let noted =
        json!({"metadata": {"annotations": {"kargo.akuity.io/argocd-context": applications.to_string()}}});
    let kind = GroupVersionKind::gvk("kargo.akuity.io", "v1alpha1", "Stage");
    let stages: Api<DynamicObject> = Api::namespaced_with(admin, PROJECT, &ApiResource::from_gvk(&kind));
    stages.patch(STAGE, &PatchParams::default(), &Patch::Merge(&noted)).await?;
    play.freight(NEW, 2).await?;
    play.policy("tell", &json!({"chain": [{"name": "tell", "builtin": "notify"}]})).await?;
    let _refloat = play.replica("one", &["--argocd-namespace", ARGOCD])?;
    play.condition("tell", "Accepted", "True").await?;
    play.promote(NEW).await?;
    play.closed().await?;

    let records = play.ours("DecisionRecord", "decisionrecords").await?;
    let record: DecisionRecord = serde_json::from_value(records.first().context("a record")?.clone())?;
    let context = Record::from_object(&record)?.context.context("a context")?;
    let told = context.stage.extra.iter().find(|(key, _)| key == "argocd-applications");
    let expected = "argocd/web: sync OutOfSync, health Degraded (Deployment \"web\" exceeded its progress deadline), \
                    revision 4f2c9a\n\
                    argocd/theirs: not readable for this Stage\n\
                    elsewhere/web: not readable for this Stage";
    assert_eq!(told.map(|(_, told)| told.as_str()), Some(expected));
    Ok(())
}
