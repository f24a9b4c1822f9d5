//! Puts CustomResourceDefinitions onto a test's API server and waits until it serves them.
//! In: an admin's client and YAML, as a folder or a text. Out: nothing; the kinds can be used afterwards.
//! Must not use server-side apply: tests count on clients that never do.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, PostParams};
use kube::{Client, ResourceExt};
use serde::Deserialize;

const ESTABLISHED_WITHIN: Duration = Duration::from_secs(60);
const POLL_EVERY: Duration = Duration::from_millis(20);

/// Why definitions could not be applied.
#[derive(Debug, thiserror::Error)]
pub enum CrdError {
    /// The folder or a file in it.
    #[error("cannot read `{}`", path.display())]
    Read {
        /// The folder or file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A document that is no definition.
    #[error("`{from}` holds something that is no CustomResourceDefinition: {problem}")]
    Parse {
        /// The file, or what the caller called its text.
        from: String,
        /// What the parser said.
        problem: String,
    },
    /// The server refused.
    #[error("cannot apply the definition `{name}`")]
    Apply {
        /// Name of the definition.
        name: String,
        /// Why.
        #[source]
        source: Box<kube::Error>,
    },
    /// The server accepted the definition and did not begin to serve it in time.
    #[error("the definition `{name}` is not established in time")]
    NotEstablished {
        /// Name of the definition.
        name: String,
    },
}

/// Applies every `*.yaml` of a folder.
///
/// # Errors
/// When one cannot be read, is refused, or is not served within a minute.
pub async fn apply_folder(admin: &Client, folder: &Path) -> Result<(), CrdError> {
    let failed = |source| CrdError::Read { path: folder.to_owned(), source };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        files.push(entry.map_err(failed)?.path());
    }
    files.retain(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    files.sort();
    let mut definitions = Vec::new();
    for path in files {
        let text =
            std::fs::read_to_string(&path).map_err(|source| CrdError::Read { path: path.clone(), source })?;
        definitions.extend(parse(&text, &path.display().to_string())?);
    }
    apply(admin, definitions).await
}

/// Applies a text of one or more YAML documents; `from` is what messages call it.
///
/// # Errors
/// When one cannot be understood, is refused, or is not served within a minute.
pub async fn apply_text(admin: &Client, text: &str, from: &str) -> Result<(), CrdError> {
    apply(admin, parse(text, from)?).await
}

fn parse(text: &str, from: &str) -> Result<Vec<CustomResourceDefinition>, CrdError> {
    let failed = |problem: String| CrdError::Parse { from: from.to_owned(), problem };
    let documents: Vec<serde_json::Value> =
        serde_saphyr::from_multiple(text).map_err(|error| failed(error.to_string()))?;
    let definitions = documents.iter().filter(|document| !document.is_null());
    definitions
        .map(|document| Deserialize::deserialize(document).map_err(|e| failed(e.to_string())))
        .collect()
}

async fn apply(admin: &Client, definitions: Vec<CustomResourceDefinition>) -> Result<(), CrdError> {
    let api: Api<CustomResourceDefinition> = Api::all(admin.clone());
    let names: Vec<String> = definitions.iter().map(ResourceExt::name_any).collect();
    for definition in definitions {
        let name = definition.name_any();
        let source = match create_or_replace(&api, definition).await {
            Ok(()) => continue,
            Err(error) => Box::new(error),
        };
        return Err(CrdError::Apply { name, source });
    }
    let deadline = Instant::now() + ESTABLISHED_WITHIN;
    for name in names {
        while !established(&api, &name).await? {
            if Instant::now() > deadline {
                return Err(CrdError::NotEstablished { name });
            }
            tokio::time::sleep(POLL_EVERY).await;
        }
    }
    Ok(())
}

async fn create_or_replace(
    api: &Api<CustomResourceDefinition>,
    mut definition: CustomResourceDefinition,
) -> Result<(), kube::Error> {
    let name = definition.name_any();
    if let Some(existing) = api.get_opt(&name).await? {
        definition.metadata.resource_version = existing.metadata.resource_version;
        api.replace(&name, &PostParams::default(), &definition).await?;
    } else {
        api.create(&PostParams::default(), &definition).await?;
    }
    Ok(())
}

async fn established(api: &Api<CustomResourceDefinition>, name: &str) -> Result<bool, CrdError> {
    let found = api.get(name).await;
    let found =
        found.map_err(|source| CrdError::Apply { name: name.to_owned(), source: Box::new(source) })?;
    let conditions = found.status.and_then(|status| status.conditions).unwrap_or_default();
    Ok(conditions.iter().any(|condition| condition.type_ == "Established" && condition.status == "True"))
}
