//! How values are printed, and filters for configuration files beside the engine's own.

use minijinja::value::{Kwargs, Serde, Value, ValueKind};
use minijinja::{Environment, Error, ErrorKind, Output, State};
use serde::Serialize;
use serde_json::ser::{PrettyFormatter, Serializer};
use serde_json::{Map, Value as Json};

use crate::content::yaml;

/// Spaces that `tojson(indent=…)` indents by at most.
const INDENT: usize = 16;
/// Collections inside one another that are printed or converted: a parser's limit.
const DEPTH: usize = 128;
/// Values of one conversion; a template can put one list into itself many times over.
const VALUES: usize = 2_200_000;

pub(super) fn add(environment: &mut Environment<'_>) {
    environment.set_formatter(print);
    environment.add_filter("tojson", tojson);
    environment.add_filter("toyaml", toyaml);
}

/// A parsed configuration as the engine's value.
pub(super) fn value(value: &Json) -> Value {
    Value::from(Serde(value))
}

/// Strings as they are, everything else as JSON: the engine's own `True` and `None` are words of no configuration file.
fn print(output: &mut Output<'_>, state: &mut State<'_, '_>, value: &Value) -> Result<(), Error> {
    match value.kind() {
        ValueKind::Bool | ValueKind::None | ValueKind::Seq | ValueKind::Map => {
            let text = serde_json::to_string(&json(value)?).map_err(|_| cannot())?;
            output.write_str(&text).map_err(Error::from)
        }
        _ => minijinja::escape_formatter(output, state, value),
    }
}

/// JSON without the escapes for HTML that the engine's own filter makes. On one line, or with `indent`.
fn tojson(value: Value, options: Kwargs) -> Result<String, Error> {
    let indent: Option<usize> = options.get("indent")?;
    options.assert_all_used()?;
    let value = json(&value)?;
    let Some(indent) = indent else {
        return serde_json::to_string(&value).map_err(|_| cannot());
    };
    let spaces = " ".repeat(indent.min(INDENT));
    let mut bytes = Vec::new();
    let formatter = PrettyFormatter::with_indent(spaces.as_bytes());
    let mut to = Serializer::with_formatter(&mut bytes, formatter);
    value.serialize(&mut to).map_err(|_| cannot())?;
    String::from_utf8(bytes).map_err(|_| cannot())
}

/// YAML in blocks, without the last newline.
fn toyaml(value: Value) -> Result<String, Error> {
    let text = yaml::write(&json(&value)?);
    Ok(text.trim_end_matches('\n').to_owned())
}

fn json(value: &Value) -> Result<Json, Error> {
    let mut left = VALUES;
    convert(value, DEPTH, &mut left)
}

fn convert(value: &Value, depth: usize, left: &mut usize) -> Result<Json, Error> {
    *left = left.checked_sub(1).ok_or(ErrorKind::OutOfFuel)?;
    let deeper = || depth.checked_sub(1).ok_or_else(cannot);
    match value.kind() {
        // the engine's own error knows which expression was undefined
        ValueKind::Undefined => {
            value.get_attr("")?;
            Err(ErrorKind::UndefinedError.into())
        }
        ValueKind::None => Ok(Json::Null),
        ValueKind::Bool => Ok(Json::Bool(value.is_true())),
        ValueKind::Number => serde_json::to_value(value).map_err(|_| cannot()),
        ValueKind::String => match value.as_str() {
            Some(text) => Ok(Json::String(text.to_owned())),
            None => Err(cannot()),
        },
        ValueKind::Seq | ValueKind::Iterable => {
            let depth = deeper()?;
            let items = value.try_iter()?;
            let items = items.map(|item| convert(&item, depth, left));
            Ok(Json::Array(items.collect::<Result<_, _>>()?))
        }
        ValueKind::Map => {
            let depth = deeper()?;
            let mut object = Map::new();
            for key in value.try_iter()? {
                let item = convert(&value.get_item(&key)?, depth, left)?;
                let key = match key.kind() {
                    ValueKind::String | ValueKind::Number | ValueKind::Bool => key.to_string(),
                    _ => return Err(cannot()),
                };
                object.insert(key, item);
            }
            Ok(Json::Object(object))
        }
        _ => Err(cannot()),
    }
}

fn cannot() -> Error {
    Error::from(ErrorKind::BadSerialization)
}
