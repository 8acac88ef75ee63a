//! The reference of keys, from the declarations by which the parser reads them: docs/settings.md and appconfigd.yaml(5)
//! are made of it.

use super::field::Written;
use super::written;

/// The keys of one mapping.
#[derive(Clone, Debug)]
pub struct Table {
    /// As in messages: "a profile", "`validate`".
    pub noun: &'static str,
    /// In the order of their declaration.
    pub rows: Vec<Row>,
}

#[derive(Clone, Debug)]
pub struct Row {
    pub key: &'static str,
    /// What is written there: "duration", "`reload`, `restart`".
    pub value: String,
    /// In backticks alone: as it would be written. "required": there is none. Empty: not there is a meaning of its own,
    /// which the text says.
    pub default: &'static str,
    pub text: &'static str,
}

/// All mappings that a settings file can have, from the outside in, each once.
pub fn tables() -> Vec<Table> {
    let mut tables = Tables::default();
    written::File::kind(&mut tables);
    tables.0
}

/// Those that were met.
#[derive(Default)]
pub struct Tables(Vec<Table>);

impl Tables {
    /// Adds one with the rows that `of` finds, and what they lead to behind it; nothing where it is there.
    pub(super) fn table(&mut self, noun: &'static str, of: impl FnOnce(&mut Tables) -> Vec<Row>) {
        if self.0.iter().any(|table| table.noun == noun) {
            return;
        }
        let at = self.0.len();
        let rows = Vec::new();
        self.0.push(Table { noun, rows });
        let rows = of(self);
        if let Some(table) = self.0.get_mut(at) {
            table.rows = rows;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::settings::{Circumstances, Texts, interpret};

    /// A settings file for every mapping, with `KEYS` where its keys go.
    const PLACES: [(&str, &str); 22] = [
        (
            "a settings file",
            "{KEYS profiles: {p: {application: a, environment: e}}, targets: {/t: {from: p}}}",
        ),
        ("`metrics`", "{metrics: {KEYS}}"),
        (
            "`defaults`",
            "{defaults: {KEYS}, profiles: {p: {application: a, environment: e}}, targets: {/t: {from: p}}}",
        ),
        ("`aws`", "{aws: {KEYS}}"),
        (
            "`assume_role`",
            "{aws: {assume_role: {KEYS role_arn: 'arn:aws:iam::1:role/r'}}}",
        ),
        ("`local`", "{local: {KEYS}}"),
        (
            "a profile",
            "{profiles: {p: {KEYS application: a, environment: e}}, targets: {/t: {from: p}}}",
        ),
        (
            "`validate`",
            "{profiles: {p: {application: a, environment: e, validate: {KEYS}}}, targets: {/t: {from: p}}}",
        ),
        (
            "a target",
            "{profiles: {p: {application: a, environment: e}}, targets: {/t: {KEYS from: p}}}",
        ),
        (
            "a target in /",
            "{profiles: {p: {application: a, environment: e}}, targets: {/t/: {KEYS files: {f: {from: p}}}}}",
        ),
        (
            "a file of a directory",
            "{profiles: {p: {application: a, environment: e}}, targets: {/t/: {files: {f: {KEYS from: p}}}}}",
        ),
        (
            "`parents`",
            "{profiles: {p: {application: a, environment: e}}, targets: {/t: {from: p, parents: {KEYS}}}}",
        ),
        (
            "a service",
            "{services: {s: {KEYS reload: {unit: u.service}}}}",
        ),
        (
            "`reload`",
            "{services: {s: {reload: {KEYS unit: u.service}}}}",
        ),
        (
            "`http`",
            "{services: {s: {http: {KEYS url: 'http://127.0.0.1/'}}}}",
        ),
        (
            "a probe",
            "{services: {s: {reload: {unit: u.service}, probe: {KEYS command: [x]}}}}",
        ),
        ("`child`", "{services: {s: {child: {KEYS}}}}"),
        (
            "`env`",
            "{profiles: {p: {application: a, environment: e}}, services: {s: {child: {env: {KEYS from: p}}}}}",
        ),
        (
            "`signal`",
            "{services: {s: {check: [x], signal: {KEYS name: HUP, unit: u.service}}}}",
        ),
        (
            "`on_change`",
            "{services: {s: {child: {on_change: {KEYS signal: HUP}}}}}",
        ),
        (
            "a watch",
            "{services: {s: {reload: {unit: u.service}}}, watches: {w: {KEYS paths: [/x], notify: [s]}}}",
        ),
        (
            "a window",
            "{services: {s: {reload: {unit: u.service}, window: {KEYS from: '01:00', to: '02:00'}}}}",
        ),
    ];

    /// Defaults that are filled in later than here: by whoever makes the directory.
    const FILLED_IN_LATER: [(&str, &str); 1] = [("`parents`", "mode")];

    /// The settings, or what is wrong with them.
    fn meaning(noun: &str, key: &str, keys: &str) -> Result<String, String> {
        read(&place(noun, key).replace("KEYS", keys))
    }

    fn place(noun: &str, key: &str) -> &'static str {
        let in_directory = ["files", "adopt", "keep_previous"].contains(&key) && noun == "a target";
        let noun = if in_directory { "a target in /" } else { noun };
        let place = PLACES.iter().find(|(name, _)| *name == noun);
        place.map_or_else(
            || panic!("no place for `{key}` of {noun}"),
            |(_, place)| place,
        )
    }

    fn read(text: &str) -> Result<String, String> {
        let texts = Texts::new(("f.yaml".into(), text.to_owned()), Vec::new());
        interpret(texts, Path::new("/f.yaml"), &Circumstances::default())
            .map(|read| format!("{:?}", read.settings))
            .map_err(|problems| problems.to_string())
    }

    /// A place without one of the keys that it has.
    fn without(place: &str, key: &str) -> String {
        let place = place.replace("KEYS ", "").replace("KEYS", "");
        let starts = [format!(" {key}: "), format!("{{{key}: ")];
        let Some(at) = starts.iter().find_map(|start| place.find(start)) else {
            return place;
        };
        let (before, value) = place.split_at(at + 1);
        let mut depth = 0;
        let end = value.find(|c: char| {
            depth += i32::from(matches!(c, '{' | '[')) - i32::from(matches!(c, '}' | ']'));
            depth < 0 || (c == ',' && depth == 0)
        });
        let end = end.unwrap_or(value.len());
        let rest = value.get(end..).unwrap_or_default();
        format!("{before}{}", rest.trim_start_matches(','))
    }

    fn rows() -> impl Iterator<Item = (&'static str, Row)> {
        let tables = tables().into_iter();
        tables.flat_map(|table| table.rows.into_iter().map(move |row| (table.noun, row)))
    }

    #[test]
    fn a_default_of_the_reference_is_what_counts_where_the_key_is_not_written() {
        let mut later = Vec::new();
        let mut compared = 0;
        for (noun, row) in rows() {
            let literal = row.default.strip_prefix('`');
            let literal = literal.and_then(|rest| rest.strip_suffix('`'));
            let Some(literal) = literal.filter(|text| !text.contains('`')) else {
                continue;
            };
            let written = meaning(noun, row.key, &format!("{}: {literal},", row.key));
            let written = written.unwrap_or_else(|error| panic!("{error}"));
            if written != meaning(noun, row.key, "").unwrap() {
                later.push((noun, row.key));
            }
            compared += 1;
        }
        assert_eq!(later, FILLED_IN_LATER);
        assert!(compared > 30, "{compared}");
    }

    #[test]
    fn a_duration_is_longer_than_nothing_unless_its_line_names_0s() {
        for (noun, row) in rows().filter(|(_, row)| row.value == "duration") {
            let quiet = match row.key {
                "settle_max" => "settle: 1s, ",
                _ => "",
            };
            let nothing = meaning(noun, row.key, &format!("{quiet}{}: 0s,", row.key));
            let named = row.default.contains("`0s`") || row.text.contains("`0s`");
            assert_eq!(
                nothing.is_ok(),
                named,
                "`{}` of {noun}: {nothing:?}",
                row.key
            );
        }
    }

    #[test]
    fn a_url_and_an_absolute_path_are_nothing_less() {
        let named =
            rows().filter(|(_, row)| ["URL", "absolute path"].contains(&row.value.as_str()));
        let mut count = 0;
        for (noun, row) in named {
            let bare = place(noun, row.key)
                .replace("command: [x]", "")
                .replace("name: HUP, unit: u.service", "name: HUP");
            let given = format!("{}: ", row.key);
            let with = |value: &str| match bare.contains(&format!("KEYS {given}")) {
                true => bare
                    .replace("KEYS ", "")
                    .replace("'http://127.0.0.1/'", value),
                false => bare.replace("KEYS", &format!("{given}{value},")),
            };
            let right = match row.value.as_str() {
                "URL" => "'http://127.0.0.1/right'",
                _ => "/right",
            };
            let right = read(&with(right));
            assert!(right.is_ok(), "`{}` of {noun}: {right:?}", row.key);
            let wrong = read(&with("no/thing"));
            assert!(wrong.is_err(), "`{}` of {noun}: {wrong:?}", row.key);
            count += 1;
        }
        assert!(count > 6, "{count}");
    }

    #[test]
    fn what_is_required_is_missed() {
        let required = rows().filter(|(_, row)| row.default == "required");
        let wrong: Vec<_> = required
            .map(|(noun, row)| (noun, row.key))
            .filter(|(noun, key)| {
                let error = read(&without(place(noun, key), key)).err();
                error.is_none_or(|error| !error.contains(&format!("`{key}")))
            })
            .collect();
        assert!(wrong.is_empty(), "{wrong:?}");
    }

    #[test]
    fn every_key_says_what_it_is_for_and_every_mapping_is_met_once() {
        let mut nouns: Vec<&str> = tables().iter().map(|table| table.noun).collect();
        assert!(nouns.len() > 20, "{nouns:?}");
        nouns.sort_unstable();
        let count = nouns.len();
        nouns.dedup();
        assert_eq!(nouns.len(), count);
        for (noun, row) in rows() {
            assert!(
                !row.text.is_empty() && !row.value.is_empty(),
                "{noun}: {row:?}"
            );
            let cells = [row.default, row.text, row.value.as_str()];
            let cell_ends = cells.iter().any(|cell| cell.contains('|'));
            assert!(!cell_ends, "a bar ends a cell: {row:?}");
        }
    }
}
