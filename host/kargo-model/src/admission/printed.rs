//! Values as refusals quote them: as Go prints its structs as JSON.
//! In go a value and the order of its struct's fields, out comes text. Fields that Go does not know are left out, as it
//! does. It must not know any kind of object.

use serde_json::Value;

use crate::object::list;

/// A struct: its fields in order, each as `print` prints it.
pub(super) fn in_order(value: &Value, order: &[&str], print: impl Fn(&str, &Value) -> String) -> String {
    let present =
        order.iter().filter_map(|key| value.get(key).map(|field| format!("{key:?}:{}", print(key, field))));
    format!("{{{}}}", present.collect::<Vec<_>>().join(","))
}

/// A struct whose fields are plain.
pub(super) fn fields(value: &Value, order: &[&str]) -> String {
    in_order(value, order, |_, field| field.to_string())
}

/// The list of such structs under `key`; Go's `null` when there is none.
pub(super) fn structs(object: &Value, key: &str, order: &[&str]) -> String {
    match list(object, &[key]) {
        [] => "null".to_owned(),
        items => format!("[{}]", items.iter().map(|one| fields(one, order)).collect::<Vec<_>>().join(",")),
    }
}

/// `<`, `>` and `&` as Go escapes them in JSON.
pub(super) fn escaped(text: &str) -> String {
    text.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026")
}
