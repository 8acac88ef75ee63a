//! What an event or span says, as names and values.

use std::error::Error;
use std::fmt;

use serde_json::{Number, Value};
use tracing::field::{Field, Visit};

use super::list::shown;
use crate::words::with_causes;

/// Names and values in the order recorded; a name recorded again gets the later value.
#[derive(Clone, Debug, Default)]
pub(super) struct Fields {
    pub message: String,
    pub named: Vec<(&'static str, Value)>,
    /// Its name in the catalogue: the field `event`.
    pub event: Option<String>,
    /// For the journal alone: fields whose name begins with `journal.`.
    pub journal: Vec<(&'static str, Value)>,
}

impl Fields {
    pub(super) fn set(&mut self, name: &'static str, value: Value) {
        if name == "message" {
            self.message = match value {
                Value::String(text) => text,
                other => other.to_string(),
            };
            return;
        }
        if name == "event" {
            self.event = value.as_str().map(str::to_owned);
            return;
        }
        if name.starts_with("journal.") {
            return self.journal.push((name, value));
        }
        match self.named.iter_mut().find(|(known, _)| *known == name) {
            Some((_, known)) => *known = value,
            None => self.named.push((name, value)),
        }
    }

    /// As lines show them.
    pub(super) fn shown(&self) -> Fields {
        let mut fields = self.clone();
        for (_, value) in &mut fields.named {
            if let Value::String(text) = value {
                *text = shown(text);
            }
        }
        fields
    }

    /// These and then `others`, which win.
    pub(super) fn extend(&mut self, others: &Fields) {
        for (name, value) in &others.named {
            self.set(name, value.clone());
        }
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.set(field.name(), Value::String(format!("{value:?}")));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.set(field.name(), Value::String(value.to_owned()));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.set(field.name(), Value::Bool(value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.set(field.name(), value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.set(field.name(), value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        let number = Number::from_f64(value).map(Value::Number);
        let value = number.unwrap_or_else(|| Value::String(value.to_string()));
        self.set(field.name(), value);
    }

    /// With all its causes.
    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        self.set(field.name(), Value::String(with_causes(value)));
    }
}
