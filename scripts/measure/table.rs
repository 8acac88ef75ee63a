//! The table: what, budget, figure, verdict, and what stands beside it.

use std::fmt::Write;
use std::fs;
use std::time::Duration;

use crate::Plan;

pub struct Row {
    what: String,
    unit: &'static str,
    budget: Option<f64>,
    /// `None`: it did not come to an end.
    figure: Option<f64>,
    beside: String,
}

impl Row {
    pub fn new(what: impl Into<String>, unit: &'static str, figure: f64) -> Row {
        Row {
            what: what.into(),
            unit,
            budget: None,
            figure: Some(figure),
            beside: String::new(),
        }
    }

    pub fn failed(what: impl Into<String>, unit: &'static str, why: String) -> Row {
        Row {
            what: what.into(),
            unit,
            budget: None,
            figure: None,
            beside: why,
        }
    }

    pub fn within(mut self, budget: f64) -> Row {
        self.budget = Some(budget);
        self
    }

    pub fn beside(mut self, beside: impl Into<String>) -> Row {
        self.beside = beside.into();
        self
    }

    fn verdict(&self) -> &'static str {
        match (self.figure, self.budget) {
            (None, _) => "OVER",
            (Some(_), None) => "",
            (Some(figure), Some(budget)) if figure <= budget => "ok",
            (Some(_), Some(_)) => "OVER",
        }
    }
}

/// The table with a line under its head.
pub fn print(rows: &[Row]) -> String {
    let mut text = String::new();
    let head = ("what", "budget", "figure", "", "beside it");
    let mut line = |what: &str, budget: &str, figure: &str, verdict: &str, beside: &str| {
        let line = format!("{what:<58} {budget:>10} {figure:>14} {verdict:<4}  {beside}");
        writeln!(text, "{}", line.trim_end()).unwrap();
    };
    line(head.0, head.1, head.2, head.3, head.4);
    for row in rows {
        let budget = row.budget.map(number).unwrap_or_default();
        let figure = row.figure.map_or("never".to_owned(), number);
        let figure = format!("{figure} {}", row.unit);
        line(&row.what, &budget, &figure, row.verdict(), &row.beside);
    }
    text
}

/// Three figures that count, and thousands apart.
fn number(value: f64) -> String {
    let decimals = match value.abs() {
        small if small < 1.0 => 3,
        small if small < 10.0 => 2,
        small if small < 1_000.0 => 1,
        _ => 0,
    };
    let text = format!("{value:.decimals$}");
    let (whole, rest) = text.split_once('.').unwrap_or((&text, ""));
    let mut grouped = String::new();
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && (whole.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    if rest.is_empty() {
        grouped
    } else {
        format!("{grouped}.{rest}")
    }
}

pub fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1_000.0
}

/// The value below which this share (0.0 to 1.0) of them lies.
pub fn percentile(values: &mut [f64], share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let at = (share * values.len() as f64).ceil() as usize;
    values[at.clamp(1, values.len()) - 1]
}

pub fn median(values: &mut [f64]) -> f64 {
    percentile(values, 0.5)
}

/// Of the program's file.
pub fn size(plan: &Plan) -> Vec<Row> {
    let bytes = fs::metadata(&plan.program).unwrap().len();
    vec![Row::new("binary", "B", bytes as f64).within(16_000_000.0)]
}
