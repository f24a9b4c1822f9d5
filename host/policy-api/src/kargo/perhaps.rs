//! An object of a list or a watch that may be one that cannot be decoded.
//!
//! In: JSON of any shape. Out: the object, or its identity and what is wrong with it. Decoding never fails: in a list one
//! odd object would otherwise hide all others, for as long as it is there.
//! It is decoded from JSON by `serde_json` only, and out of what knows where the object is before it reads it: lists, and
//! events of watches, in which Kubernetes tells the type first (`apimachinery/pkg/apis/meta/v1/watch.go`).

use std::borrow::Cow;

use kube::Resource;
use kube::core::ObjectMeta;
use serde::Deserialize;
use serde::de::{DeserializeOwned, Deserializer, Error as _};
use serde_json::Value;
use serde_json::value::RawValue;

use super::convert::ConvertError;
use super::from_value;

/// An object as it was read, or why it could not be.
#[derive(Clone, Debug)]
pub enum Perhaps<K> {
    /// It could be decoded.
    Read(K),
    /// It could not.
    Unreadable {
        /// Name, namespace, uid and resourceVersion, as far as they are texts; nothing else.
        metadata: Box<ObjectMeta>,
        /// What is wrong, with the JSON path.
        error: Box<ConvertError>,
    },
}

impl<K> Perhaps<K> {
    /// The object.
    ///
    /// # Errors
    /// Why it could not be decoded.
    pub fn object(self) -> Result<K, Box<ConvertError>> {
        match self {
            Self::Read(object) => Ok(object),
            Self::Unreadable { error, .. } => Err(error),
        }
    }
}

impl<'de, K: DeserializeOwned + Resource<DynamicType = ()>> Deserialize<'de> for Perhaps<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Box::<RawValue>::deserialize(deserializer)?;
        if let Ok(object) = serde_json::from_str(text.get()) {
            return Ok(Self::Read(object));
        }
        // Once more, for the path.
        let value: Value = serde_json::from_str(text.get()).map_err(D::Error::custom)?;
        match from_value(&value) {
            Ok(object) => Ok(Self::Read(object)),
            Err(error) => {
                let kind = K::kind(&());
                Ok(Self::Unreadable {
                    metadata: Box::new(identity(&value)),
                    error: Box::new(error.of_kind(&kind)),
                })
            }
        }
    }
}

fn identity(value: &Value) -> ObjectMeta {
    let text = |key: &str| value.get("metadata")?.get(key)?.as_str().map(str::to_owned);
    ObjectMeta {
        name: text("name"),
        namespace: text("namespace"),
        uid: text("uid"),
        resource_version: text("resourceVersion"),
        ..ObjectMeta::default()
    }
}

impl<K: Resource<DynamicType = ()>> Resource for Perhaps<K> {
    type DynamicType = ();
    type Scope = K::Scope;

    fn kind(_: &()) -> Cow<'_, str> {
        K::kind(&())
    }

    fn group(_: &()) -> Cow<'_, str> {
        K::group(&())
    }

    fn version(_: &()) -> Cow<'_, str> {
        K::version(&())
    }

    fn plural(_: &()) -> Cow<'_, str> {
        K::plural(&())
    }

    fn meta(&self) -> &ObjectMeta {
        match self {
            Self::Read(object) => object.meta(),
            Self::Unreadable { metadata, .. } => metadata,
        }
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        match self {
            Self::Read(object) => object.meta_mut(),
            Self::Unreadable { metadata, .. } => metadata,
        }
    }
}

#[cfg(test)]
mod tests {
    use kube::core::ObjectList;
    use serde_json::json;

    use super::*;
    use crate::kargo::Freight;

    #[test]
    fn one_odd_object_does_not_hide_the_others() {
        let freight = |name: &str, discovered: Value| {
            json!({ "metadata": { "name": name, "namespace": "shop", "uid": name, "resourceVersion": "7" },
                "origin": { "kind": "Warehouse", "name": "web" }, "discoveredAt": discovered })
        };
        let list = json!({ "apiVersion": "kargo.akuity.io/v1alpha1", "kind": "FreightList", "metadata": {},
            "items": [freight("good", json!("2026-11-23T06:17:54Z")), freight("odd", json!("9999-01-01T00:00:00Z")),
                freight("odder", json!(7)), json!({ "metadata": { "name": 5 }, "origin": [] }), json!("no object")] });
        let list: ObjectList<Perhaps<Freight>> = serde_json::from_value(list).expect("a list");
        let shown: Vec<String> = list
            .items
            .into_iter()
            .map(|one| match one {
                Perhaps::Read(freight) => freight.metadata.name.unwrap_or_default(),
                Perhaps::Unreadable { metadata, error } => {
                    let (name, version) = (metadata.name.unwrap_or_default(), metadata.resource_version);
                    format!("{name} {}: {error}", version.unwrap_or_default())
                }
            })
            .collect();
        assert_eq!(
            shown,
            [
                "good",
                "odd 7: cannot decode `Freight shop/odd` at `discoveredAt`: invalid value: string \
                 \"9999-01-01T00:00:00Z\", expected an RFC 3339 time between 1970 and 2106",
                "odder 7: cannot decode `Freight shop/odder` at `discoveredAt`: invalid type: integer `7`, expected a string",
                " : cannot decode `Freight ?` at `metadata.name`: invalid type: integer `5`, expected a string",
                " : cannot decode `Freight ?` at `.`: invalid type: string \"no object\", expected struct Freight",
            ]
        );
    }

    #[test]
    fn a_watch_tells_of_odd_objects_too() {
        use kube::core::WatchEvent;
        for (discovered, is_read) in [("\"2026-11-23T06:17:54Z\"", true), ("7", false)] {
            let line = format!(
                r#"{{"type":"ADDED","object":{{"metadata":{{"name":"f"}},"discoveredAt":{discovered},
                    "origin":{{"kind":"Warehouse","name":"web"}}}}}}"#
            );
            let event: WatchEvent<Perhaps<Freight>> = serde_json::from_str(&line).expect("an event");
            let WatchEvent::Added(freight) = event else { panic!("not added") };
            assert_eq!(freight.meta().name.as_deref(), Some("f"));
            assert_eq!(freight.object().is_ok(), is_read, "{discovered}");
        }
    }
}
