//! What a failed rendering says: template, line, expression. Never a value.

use std::error::Error as _;

use minijinja::{Error, ErrorKind};

use crate::content::quote;
use crate::content::template::OUTPUT;

/// The template engine's own details may quote values, so only the expression, which stands in the template, is shown.
pub(super) fn describe(failure: &Error, has_config: bool) -> String {
    let failure = innermost(failure);
    let name = quote::name(failure.name().unwrap_or("?"));
    let line = failure.line().unwrap_or_default();
    let undefined = undefined(failure);
    let what = match undefined {
        Some(_) => "undefined value".to_owned(),
        None => what(failure),
    };
    let mut text = format!("template {name} line {line}: {what}");
    let expression = undefined.or_else(|| failing(failure));
    if let Some(expression) = expression {
        text.push_str(": ");
        text.push_str(&quote::name(expression));
    }
    if let Some(help) = help(failure, expression, has_config) {
        text.push_str("; ");
        text.push_str(help);
    }
    text
}

fn innermost(failure: &Error) -> &Error {
    let mut failure = failure;
    while let Some(inner) = failure
        .source()
        .and_then(|inner| inner.downcast_ref::<Error>())
    {
        failure = inner;
    }
    failure
}

fn what(failure: &Error) -> String {
    match failure.kind() {
        ErrorKind::UndefinedError => "undefined value".to_owned(),
        ErrorKind::OutOfFuel => "the template does more work than one rendering may".to_owned(),
        ErrorKind::WriteFailure => {
            format!("the template writes more than {} MiB", OUTPUT / 1024 / 1024)
        }
        ErrorKind::TemplateNotFound => "no such template is loaded".to_owned(),
        ErrorKind::InvalidOperation if failure.detail() == Some("recursion limit exceeded") => {
            "recursion limit exceeded".to_owned()
        }
        // a kind's own text is fixed
        kind => kind.to_string(),
    }
}

fn help(failure: &Error, expression: Option<&str>, has_config: bool) -> Option<&'static str> {
    match (failure.kind(), expression) {
        (ErrorKind::UndefinedError, Some(expression))
            if !has_config && (expression == "config" || expression.starts_with("config.")) =>
        {
            Some("`config` needs one profile or `merge: true`, several are `profiles['NAME']`")
        }
        (ErrorKind::TemplateNotFound, _) => {
            Some("names of other templates are written out as strings")
        }
        _ => None,
    }
}

/// What was undefined, by the engine's "… `EXPRESSION` is undefined …", which other errors have too.
fn undefined(failure: &Error) -> Option<&str> {
    let (before, _) = failure.detail()?.rsplit_once("` is undefined")?;
    let (_, expression) = before.rsplit_once('`')?;
    // nothing but the template's own words gets out
    let own = failure.template_source()?.contains(expression);
    (own && !expression.is_empty()).then_some(expression)
}

/// The failing expression as it stands in the template.
fn failing(failure: &Error) -> Option<&str> {
    let expression = failure.template_source()?.get(failure.range()?)?;
    let first = expression.trim().lines().next().unwrap_or_default();
    (!first.is_empty()).then_some(first)
}
