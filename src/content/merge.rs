//! JSON Merge Patch (RFC 7396).

use serde_json::{Map, Value};

/// `target` after `patch`: objects are united, null removes, everything else replaces. At most as deep as the parsers' limit.
pub(super) fn patch(target: Value, patch: Value) -> Value {
    let Value::Object(patch) = patch else {
        return patch;
    };
    let mut object = match target {
        Value::Object(object) => object,
        _ => Map::new(),
    };
    for (key, change) in patch {
        if change.is_null() {
            // keeps the order of what stays, unlike `remove`
            object.shift_remove(&key);
            continue;
        }
        match object.get_mut(&key) {
            Some(value) => *value = self::patch(value.take(), change),
            None => {
                object.insert(key, self::patch(Value::Null, change));
            }
        }
    }
    Value::Object(object)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn the_vectors_of_rfc_7396_appendix_a_hold() {
        for (target, change, result) in [
            (json!({"a": "b"}), json!({"a": "c"}), json!({"a": "c"})),
            (
                json!({"a": "b"}),
                json!({"b": "c"}),
                json!({"a": "b", "b": "c"}),
            ),
            (json!({"a": "b"}), json!({"a": null}), json!({})),
            (
                json!({"a": "b", "b": "c"}),
                json!({"a": null}),
                json!({"b": "c"}),
            ),
            (json!({"a": ["b"]}), json!({"a": "c"}), json!({"a": "c"})),
            (json!({"a": "c"}), json!({"a": ["b"]}), json!({"a": ["b"]})),
            (
                json!({"a": {"b": "c"}}),
                json!({"a": {"b": "d", "c": null}}),
                json!({"a": {"b": "d"}}),
            ),
            (
                json!({"a": [{"b": "c"}]}),
                json!({"a": [1]}),
                json!({"a": [1]}),
            ),
            (json!(["a", "b"]), json!(["c", "d"]), json!(["c", "d"])),
            (json!({"a": "b"}), json!(["c"]), json!(["c"])),
            (json!({"a": "foo"}), json!(null), json!(null)),
            (json!({"a": "foo"}), json!("bar"), json!("bar")),
            (
                json!({"e": null}),
                json!({"a": 1}),
                json!({"e": null, "a": 1}),
            ),
            (
                json!([1, 2]),
                json!({"a": "b", "c": null}),
                json!({"a": "b"}),
            ),
            (
                json!({}),
                json!({"a": {"bb": {"ccc": null}}}),
                json!({"a": {"bb": {}}}),
            ),
        ] {
            assert_eq!(
                patch(target.clone(), change.clone()),
                result,
                "{target} + {change}"
            );
        }
    }

    pub(crate) fn values() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i32>().prop_map(Value::from),
            "[a-z]{0,3}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map("[a-d]", inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    fn without_nulls(value: &Value) -> bool {
        match value {
            Value::Object(object) => object
                .values()
                .all(|value| !value.is_null() && without_nulls(value)),
            _ => true,
        }
    }

    proptest! {
        #[test]
        fn a_patch_twice_is_the_patch_once(target in values(), change in values()) {
            let once = patch(target, change.clone());
            prop_assert_eq!(patch(once.clone(), change), once);
        }

        #[test]
        fn an_empty_patch_changes_no_object_and_a_scalar_replaces(target in values()) {
            if target.is_object() {
                prop_assert_eq!(patch(target.clone(), json!({})), target.clone());
            }
            prop_assert_eq!(patch(target, json!(7)), json!(7));
        }

        #[test]
        fn a_patch_onto_nothing_leaves_no_null_member(change in values()) {
            let result = patch(json!({}), change.clone());
            prop_assert!(!change.is_object() || without_nulls(&result));
        }
    }
}
