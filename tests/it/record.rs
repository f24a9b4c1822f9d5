//! `refloat record` and `refloat explain` against a real API server, with rights to read and nothing else.
//! What was asked of the server is counted from its audit log.

use std::path::Path;
use std::process::{Command, Output};

use kargo_model::Script;
use kargo_model::script::{Attempts, Outcome as Step};
use policy_tests::apiserver::{self, ADMIN, MALLORY, User};
use policy_tests::rights::{Grant, rule};
use policy_tests::stage_play::{NEW, STAGE, Setting, StagePlay, cache, refloat, text};
use policy_tests::until;

type Outcome = anyhow::Result<()>;

const PROJECT: &str = "recorded";

fn run(arguments: &[&str], kubeconfig: Option<&Path>) -> anyhow::Result<Output> {
    let mut command = Command::new(refloat()?);
    command.args(arguments).env_remove("KUBECONFIG").env("REFLOAT_CACHE", cache()?);
    if let Some(kubeconfig) = kubeconfig {
        command.args(["--project", PROJECT, "--kubeconfig"]).arg(kubeconfig);
    }
    Ok(command.output()?)
}

fn shown(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr))
}

#[tokio::test]
async fn a_live_failure_is_told_and_recorded_with_read_rights_only() -> Outcome {
    let server = apiserver::shared().await?;
    let error = "error sending HTTP request: dial tcp 127.0.0.1:9: connect: connection refused";
    let script = Script::new().step(STAGE, NEW, Attempts::Any, ("deploy", Step::Error(error.to_owned())));
    let play = StagePlay::open(server, PROJECT, script, Setting::default()).await?;
    play.freight(NEW, 2).await?;
    let kubeconfig = server.kubeconfig(MALLORY)?;

    let refused = run(&["record", "--stage", STAGE], Some(kubeconfig))?;
    let (_, said) = shown(&refused);
    assert_eq!(refused.status.code(), Some(2), "{said}");
    assert!(said.contains("cannot list stages of Project `recorded`") && said.contains("help: "), "{said}");

    let kargo = ["stages", "promotions", "freights", "projectconfigs"];
    let rules = vec![rule("kargo.akuity.io", &kargo, &["get", "list"])];
    let grant = Grant {
        name: format!("{PROJECT}-reader"),
        namespace: Some(PROJECT.to_owned()),
        user: User::new(MALLORY),
        rules,
    };
    grant.apply(&server.client(ADMIN).await?).await?;
    let promotion = play.promote(NEW).await?;
    until("the failure is recorded", || async {
        let stage = play.stage().await?;
        Ok(text(&stage, "/status/lastPromotion/status/phase") == "Errored")
    })
    .await?;

    let told = run(&["explain", &promotion], Some(kubeconfig))?;
    let (story, said) = shown(&told);
    assert_eq!(told.status.code(), Some(0), "{said}");
    for expected in ["step        `deploy` (http), number 2: Errored", "transient", "v1.0.0 -> v1.1.0 minor"]
    {
        assert!(story.contains(expected), "`{expected}` is not in\n{story}");
    }
    // What would be told, too, if the account could read it.
    for left_out in ["incidents of Project `recorded`", "clusterfailurepolicies", "namespace `recorded`"] {
        assert!(said.contains(&format!("warning: left out: {left_out}")), "`{left_out}` is not in\n{said}");
    }

    let recorded = run(&["record", "--stage", STAGE], Some(kubeconfig))?;
    let (context, said) = shown(&recorded);
    assert_eq!(recorded.status.code(), Some(0), "{said}");
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("context.yaml");
    std::fs::write(&file, context)?;
    let file = file.display().to_string();
    let decided = run(&["decide", "--module", "builtin:retry-transient", "--context", &file], None)?;
    let (answer, said) = shown(&decided);
    assert_eq!(decided.status.code(), Some(0), "{said}");
    assert!(answer.contains("decided: retry"), "{answer}");

    play.audit()?.as_actor(MALLORY).writes().expect(0)?;
    Ok(())
}
