//! Checks on JSON values.

use std::fmt::Debug;

use serde_json::Value;

use crate::failure::{Check, broken, ensure};

/// Fails unless both are equal; `what` names the thing.
pub(crate) fn equal<A, B>(what: &str, found: &A, wanted: &B) -> Check
where
    A: PartialEq<B> + Debug + ?Sized,
    B: Debug + ?Sized,
{
    ensure(found == wanted, format!("{what}: found {found:?}, wanted {wanted:?}"))
}

/// Fails unless `text` contains `part`.
pub(crate) fn contains(what: &str, text: &str, part: &str) -> Check {
    ensure(text.contains(part), format!("{what}: {part:?} is missing in {text:?}"))
}

/// The string at a pointer.
pub(crate) fn text<'v>(value: &'v Value, pointer: &str) -> Check<&'v str> {
    match value.pointer(pointer).and_then(Value::as_str) {
        Some(text) => Ok(text),
        None => broken(format!("no string at {pointer} in {value}")),
    }
}

/// The number at a pointer.
pub(crate) fn number(value: &Value, pointer: &str) -> Check<i64> {
    match value.pointer(pointer).and_then(Value::as_i64) {
        Some(number) => Ok(number),
        None => broken(format!("no number at {pointer} in {value}")),
    }
}

/// The strings of the array at a pointer.
pub(crate) fn strings(value: &Value, pointer: &str) -> Check<Vec<String>> {
    let list = value.pointer(pointer).and_then(Value::as_array);
    let Some(list) = list else {
        return broken(format!("no list at {pointer} in {value}"));
    };
    Ok(list.iter().map(|item| item.as_str().unwrap_or_default().to_owned()).collect())
}

/// Sets the value at a pointer and makes the objects on the way; `-` appends to an array.
pub(crate) fn set(root: &mut Value, pointer: &str, value: Value) {
    let mut place = root;
    for key in pointer.split('/').skip(1) {
        let key = key.replace("~1", "/").replace("~0", "~");
        if place.is_null() {
            *place = if key == "-" {
                Value::Array(Vec::new())
            } else {
                Value::Object(serde_json::Map::new())
            };
        }
        place = match place {
            Value::Array(list) => {
                let index = key.parse().unwrap_or(list.len());
                if index >= list.len() {
                    list.push(Value::Null);
                }
                let last = index.min(list.len().saturating_sub(1));
                match list.get_mut(last) {
                    Some(item) => item,
                    None => return,
                }
            }
            Value::Object(map) => map.entry(key).or_insert(Value::Null),
            _ => return,
        };
    }
    *place = value;
}

/// Removes the value at a pointer, if it is there.
pub(crate) fn remove(root: &mut Value, pointer: &str) {
    let Some((parent, key)) = pointer.rsplit_once('/') else {
        return;
    };
    match root.pointer_mut(parent) {
        Some(Value::Object(map)) => {
            map.remove(&key.replace("~1", "/").replace("~0", "~"));
        }
        Some(Value::Array(list)) => {
            if let Ok(index) = key.parse::<usize>()
                && index < list.len()
            {
                list.remove(index);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{equal, remove, set, strings, text};

    #[test]
    fn set_makes_the_objects_on_the_way() {
        let mut value = json!({});
        set(&mut value, "/a/b~1c/d", json!(1));
        assert_eq!(value, json!({ "a": { "b/c": { "d": 1 } } }));
    }

    #[test]
    fn set_with_a_dash_appends_and_makes_the_list() {
        let mut value = json!({ "there": [1] });
        set(&mut value, "/there/-", json!(2));
        set(&mut value, "/new/list/-", json!("x"));
        assert_eq!(value, json!({ "there": [1, 2], "new": { "list": ["x"] } }));
    }

    #[test]
    fn set_replaces_in_a_list() {
        let mut value = json!([{ "a": 1 }, { "a": 2 }]);
        set(&mut value, "/0/a", json!(3));
        assert_eq!(value, json!([{ "a": 3 }, { "a": 2 }]));
    }

    #[test]
    fn remove_takes_keys_and_entries_and_passes_over_nothing() {
        let mut value = json!({ "a": { "b": 1, "c": 2 }, "l": [1, 2] });
        for pointer in ["/a/b", "/l/0", "/no/such", "/l/9"] {
            remove(&mut value, pointer);
        }
        assert_eq!(value, json!({ "a": { "c": 2 }, "l": [2] }));
    }

    #[test]
    fn checks_fail_on_what_is_missing_or_different() {
        let value = json!({ "a": "x", "l": ["y"] });
        assert_eq!(text(&value, "/a").unwrap(), "x");
        assert!(text(&value, "/l").is_err());
        assert_eq!(strings(&value, "/l").unwrap(), ["y"]);
        assert!(strings(&value, "/a").is_err());
        assert!(equal("x", &1, &2).is_err());
    }
}
