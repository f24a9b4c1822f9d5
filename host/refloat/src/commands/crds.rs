//! `refloat crds`, `refloat install`, `refloat enable`: objects for `kubectl apply -f -`.
//!
//! In: names. Out: YAML on standard output. Nothing is applied here: people see what they are about to grant.

use policy_api::install::Install;
use policy_api::rights::Enable;
use policy_core::kubernetes_name::is_object_name;
use policy_core::name::{ProjectName, StageName};

use crate::args::{EnableArgs, InstallArgs};
use crate::exit::{CannotRun, Ended, Exit};
use crate::printer::Printer;

pub(crate) fn crds(printer: &mut Printer) -> Ended {
    printer.answer(&policy_api::crds_yaml());
    Ok(Exit::AsExpected)
}

pub(crate) fn install(args: &InstallArgs, printer: &mut Printer) -> Ended {
    check_name("namespace", &args.namespace)?;
    check_name("account", &args.project_account)?;
    let image = args.image.clone().unwrap_or_else(|| Install::default().image);
    check_image(&image)?;
    if let Some(name) = &args.rules_config_map {
        check_name("ConfigMap", name)?;
    }
    if let Some(name) = &args.argocd_namespace {
        check_name("namespace of Argo CD", name)?;
    }
    let install = Install {
        namespace: args.namespace.clone(),
        image,
        account: args.project_account.clone(),
        rules_config_map: args.rules_config_map.clone(),
        argocd_namespace: args.argocd_namespace.clone(),
    };
    printer.answer(&policy_api::install::yaml(&install));
    Ok(Exit::AsExpected)
}

pub(crate) fn enable(args: &EnableArgs, printer: &mut Printer) -> Ended {
    check_name("Project", &args.project)?;
    check_name("account", &args.project_account)?;
    for stage in &args.stages {
        check_name("Stage", stage)?;
    }
    printer.answer(&policy_api::rights::enable_yaml(&Enable {
        project: ProjectName::new(&args.project),
        stages: args.stages.iter().map(StageName::new).collect(),
        account: args.project_account.clone(),
    }));
    Ok(Exit::AsExpected)
}

/// What no registry could resolve is refused here; the rest of the grammar is the kubelet's business.
fn check_image(image: &str) -> Result<(), CannotRun> {
    let is_inner = |c: char| c.is_ascii_alphanumeric() || "./:@_-".contains(c);
    if image.starts_with(|c: char| c.is_ascii_alphanumeric()) && image.chars().all(is_inner) {
        return Ok(());
    }
    Err(CannotRun::new(
        format!("`{image}` cannot be the controller's image"),
        "write it as `REGISTRY/REPOSITORY:TAG`",
    ))
}

/// Kubernetes' rule for names of objects (RFC 1123): a wrong one would be refused by the API server much later.
pub(super) fn check_name(what: &str, name: &str) -> Result<(), CannotRun> {
    if is_object_name(name) {
        return Ok(());
    }
    let help =
        "names have lower-case letters, digits, `-` and `.`, and begin and end with a letter or a digit";
    Err(CannotRun::new(format!("`{name}` cannot be the name of the {what}"), help))
}
