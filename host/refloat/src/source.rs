//! Where `record` and `explain` get their objects from: exported files, or a cluster.
//!
//! In: arguments. Out: objects, and which failure is meant. What could not be read is said on standard error, object by
//! object; it is not there for what follows.

use policy_core::time::Timestamp;

use crate::args::SourceArgs;
use crate::exit::CannotRun;
use crate::input;
use crate::live::Cluster;
use crate::objects::Objects;
use crate::printer::Printer;
use crate::scene::Wanted;

/// What was gathered.
pub(crate) struct Gathered {
    /// All objects.
    pub(crate) objects: Objects,
    /// Which failure is meant.
    pub(crate) wanted: Wanted,
    /// When the cluster was looked at; `None` for files, which are as old as what they tell.
    pub(crate) now: Option<Timestamp>,
}

/// Reads everything, and warns of what is missing.
pub(crate) fn gather(
    args: &SourceArgs,
    failure: Option<&String>,
    printer: &mut Printer,
) -> Result<Gathered, CannotRun> {
    let wanted =
        Wanted { project: args.project.clone(), stage: args.stage.clone(), failure: failure.cloned() };
    let gathered = if args.from.is_empty() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| CannotRun::from_error(&error, ""))?;
        runtime.block_on(from_cluster(args, wanted))?
    } else {
        Gathered { objects: from_files(args)?, wanted, now: None }
    };
    for line in &gathered.objects.left_out {
        printer.talk(&format!("warning: left out: {line}"));
    }
    Ok(gathered)
}

fn from_files(args: &SourceArgs) -> Result<Objects, CannotRun> {
    let mut objects = Objects::default();
    let mut files = Vec::with_capacity(args.from.len());
    for place in &args.from {
        files.push((place.name(), input::text(place)?));
    }
    objects.add_files(&files)?;
    Ok(objects)
}

async fn from_cluster(args: &SourceArgs, mut wanted: Wanted) -> Result<Gathered, CannotRun> {
    let Some(project) = &args.project else {
        let help = "give `--project`, or exports with `--from`";
        return Err(CannotRun::new("which Project of the cluster is not said", help));
    };
    let cluster = Cluster::connect(args.kubeconfig.as_deref(), args.context.as_deref(), project).await?;
    let stage = match (&wanted.stage, &wanted.failure) {
        (Some(stage), _) => Some(stage.clone()),
        (None, Some(name)) => cluster.stage_of(name).await,
        (None, None) => None,
    };
    let Some(stage) = stage else {
        let line = match &wanted.failure {
            Some(name) => format!("there is no Incident and no Promotion `{name}` in Project `{project}`"),
            None => "which Stage is meant is not said".to_owned(),
        };
        return Err(CannotRun::new(line, "give `--stage`"));
    };
    let mut objects = Objects::default();
    cluster.read(&stage, &mut objects).await?;
    wanted.stage = Some(stage);
    let now = u32::try_from(jiff::Timestamp::now().as_second()).map_or(Timestamp(u32::MAX), Timestamp);
    Ok(Gathered { objects, wanted, now: Some(now) })
}
