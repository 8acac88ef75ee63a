//! The walk that all parsers share: builds the value, refuses duplicates, keeps a budget.

use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, EnumAccess, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// Values in one configuration: more than 4,000 KB of JSON can hold, far fewer than an alias bomb makes.
const VALUES: usize = 2_200_000;
/// Bytes of all strings in one configuration, aliases counted each time.
const STRINGS: usize = 32 * 1024 * 1024;
/// The only key of what the `toml` crate presents for a date.
const TOML_DATE: &str = "$__toml_private_datetime";

/// One walk through one configuration.
pub(super) struct Walk {
    values: Cell<usize>,
    strings: Cell<usize>,
    problem: Cell<Option<&'static str>>,
    merge_keys: bool,
    dates: bool,
}

impl Walk {
    pub(super) fn json() -> Walk {
        Walk {
            values: Cell::new(0),
            strings: Cell::new(0),
            problem: Cell::new(None),
            merge_keys: false,
            dates: false,
        }
    }

    pub(super) fn yaml() -> Walk {
        Walk {
            merge_keys: true,
            ..Walk::json()
        }
    }

    pub(super) fn toml() -> Walk {
        Walk {
            dates: true,
            ..Walk::json()
        }
    }

    pub(super) fn value<'de, D: Deserializer<'de>>(&self, from: D) -> Result<Value, D::Error> {
        Node(self).deserialize(from)
    }

    /// What the walk itself refused; else an error is the parser's.
    pub(super) fn problem(&self) -> Option<&'static str> {
        self.problem.get()
    }

    fn refuse<E: Error>(&self, problem: &'static str) -> E {
        self.problem.set(Some(problem));
        E::custom(problem)
    }

    fn count<E: Error>(&self, bytes: usize) -> Result<(), E> {
        self.values.set(self.values.get() + 1);
        self.strings.set(self.strings.get().saturating_add(bytes));
        if self.values.get() > VALUES || self.strings.get() > STRINGS {
            return Err(self.refuse("more values than a configuration can hold: too many aliases"));
        }
        Ok(())
    }
}

struct Node<'a>(&'a Walk);

impl<'de> DeserializeSeed<'de> for Node<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Value, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        self.0.count(0).map(|()| Value::Null)
    }

    fn visit_none<E: Error>(self) -> Result<Value, E> {
        self.visit_unit()
    }

    fn visit_some<D: Deserializer<'de>>(self, from: D) -> Result<Value, D::Error> {
        self.deserialize(from)
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, from: D) -> Result<Value, D::Error> {
        self.deserialize(from)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        self.0.count(0).map(|()| Value::Bool(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        self.0.count(0).map(|()| Value::from(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        self.0.count(0).map(|()| Value::from(value))
    }

    fn visit_i128<E: Error>(self, _: i128) -> Result<Value, E> {
        Err(self.0.refuse(super::json::TOO_LARGE))
    }

    fn visit_u128<E: Error>(self, _: u128) -> Result<Value, E> {
        Err(self.0.refuse(super::json::TOO_LARGE))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        self.0.count(0)?;
        let number = Number::from_f64(value);
        number
            .map(Value::Number)
            .ok_or_else(|| self.0.refuse("a number that is infinite or not a number"))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        self.visit_string(value.to_owned())
    }

    fn visit_string<E: Error>(self, value: String) -> Result<Value, E> {
        self.0.count(value.len()).map(|()| Value::String(value))
    }

    fn visit_bytes<E: Error>(self, _: &[u8]) -> Result<Value, E> {
        Err(self.0.refuse("binary data"))
    }

    fn visit_enum<A: EnumAccess<'de>>(self, _: A) -> Result<Value, A::Error> {
        Err(self.0.refuse("a YAML tag"))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        self.0.count(0)?;
        let mut array = Vec::new();
        while let Some(item) = items.next_element_seed(Node(self.0))? {
            array.push(item);
        }
        Ok(Value::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        self.0.count(0)?;
        let mut object = Map::new();
        let mut merges = None;
        loop {
            let key = Key {
                walk: self.0,
                taken: &object,
                merged: merges.is_some(),
            };
            let Some(key) = entries.next_key_seed(key)? else {
                break;
            };
            let value = entries.next_value_seed(Node(self.0))?;
            if self.0.dates && key == TOML_DATE {
                return Ok(value);
            }
            if self.0.merge_keys && key == "<<" {
                merges = Some(value);
            } else {
                object.insert(key, value);
            }
        }
        if let Some(merges) = merges {
            merge_keys(&mut object, merges).map_err(|()| {
                self.0
                    .refuse("a merge key (`<<`) whose value is no mapping")
            })?;
        }
        Ok(Value::Object(object))
    }
}

/// YAML's merge key: what the mapping itself says wins, then the earlier of the merged ones.
fn merge_keys(object: &mut Map<String, Value>, merges: Value) -> Result<(), ()> {
    let merges = match merges {
        Value::Array(several) => several,
        one => vec![one],
    };
    for merge in merges {
        let Value::Object(merge) = merge else {
            return Err(());
        };
        for (key, value) in merge {
            object.entry(key).or_insert(value);
        }
    }
    Ok(())
}

struct Key<'a> {
    walk: &'a Walk,
    taken: &'a Map<String, Value>,
    merged: bool,
}

impl Key<'_> {
    fn take<E: Error>(self, key: String) -> Result<String, E> {
        self.walk.count(key.len())?;
        let twice =
            self.taken.contains_key(&key) || (self.merged && self.walk.merge_keys && key == "<<");
        match twice {
            true => Err(self.walk.refuse("a key for the second time")),
            false => Ok(key),
        }
    }

    fn not_a_key<T, E: Error>(self) -> Result<T, E> {
        Err(self
            .walk
            .refuse("a key that is no string, whole number or boolean"))
    }
}

impl<'de> DeserializeSeed<'de> for Key<'_> {
    type Value = String;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<String, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Key<'_> {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<String, E> {
        self.take(key.to_owned())
    }

    fn visit_string<E: Error>(self, key: String) -> Result<String, E> {
        self.take(key)
    }

    fn visit_bool<E: Error>(self, key: bool) -> Result<String, E> {
        self.take(key.to_string())
    }

    fn visit_i64<E: Error>(self, key: i64) -> Result<String, E> {
        self.take(key.to_string())
    }

    fn visit_u64<E: Error>(self, key: u64) -> Result<String, E> {
        self.take(key.to_string())
    }

    fn visit_i128<E: Error>(self, _: i128) -> Result<String, E> {
        self.not_a_key()
    }

    fn visit_u128<E: Error>(self, _: u128) -> Result<String, E> {
        self.not_a_key()
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<String, E> {
        self.not_a_key()
    }

    fn visit_unit<E: Error>(self) -> Result<String, E> {
        self.not_a_key()
    }

    fn visit_seq<A: SeqAccess<'de>>(self, _: A) -> Result<String, A::Error> {
        self.not_a_key()
    }

    fn visit_map<A: MapAccess<'de>>(self, _: A) -> Result<String, A::Error> {
        self.not_a_key()
    }

    fn visit_enum<A: EnumAccess<'de>>(self, _: A) -> Result<String, A::Error> {
        self.not_a_key()
    }
}
