//! The outcomes that have a name and, in the journal, an identifier. `systemd/appconfigd.catalog` explains each; a test
//! holds the two against each other.

/// Names, as they stand in the field `event`, and the journal's MESSAGE_ID.
pub const EVENTS: [(&str, &str); 26] = [
    ("ready", "d0a50089806a4d82b11dae7a520de879"),
    ("received", "814d51d152d84915b4270ada5a3b44e5"),
    ("installed", "8fe5429a1a204a4ca7d541b1a3293d9c"),
    ("accepted", "e7218b36e778472a8de8b2e308e3a6a8"),
    ("refused", "df0ac0834a3945bba648e30aa46ec430"),
    ("going_back", "1f9152cdc5f3401a8c08b12bb68856dc"),
    ("went_back", "7c9ea26d8b1f445e9d28ea4219b4f960"),
    ("step_failed", "faee91861ba149d3aeb3e328e013f2a5"),
    ("delayed", "f51f21fd37e94600a2bbd4bd535dd16d"),
    ("deferred", "9d88dd5ad2d644c6ae44cbff53d1d84a"),
    ("trouble", "427f4f2baeb944ff8bb23c65b4827a60"),
    ("taken_up", "209c53da074847d2afcd6bdca520878a"),
    ("drifted", "289d50de20984ff1a5c35b7d88a032ca"),
    ("repaired", "2d6c56fb820e42da98f9f638d3e74f68"),
    ("watch_changed", "e962064abf0e4d05bd090e9aa1adbd18"),
    ("service_notified", "f1982d926ee2480385aa7380dcb727af"),
    ("service_not_running", "7a84c5f6b7c64661b4bd12e538616926"),
    ("service_pending", "24097918913748d997ac627dd0063323"),
    ("service_failed", "cc39654ca27c44329d77e10e2855786a"),
    ("poll_failed", "6e4b31abb80145759706d4ca80f263ef"),
    ("polls_answer", "8b3674f8467f462cb610fb61d63661af"),
    ("order", "7e19cece0aeb4ac8abd5ad7d33a6b9f2"),
    ("hold_ended", "b2e8cde7990f4955b62999a784978dc3"),
    ("reloaded", "2a35952ea0bf46768012a56d6deccfee"),
    ("not_reloaded", "d302255316124bc3bed03a576db979c0"),
    ("not_ready", "34a5fa3e811644819eae534fecfc830f"),
];

/// The journal's identifier of an event.
pub(super) fn message_id(event: &str) -> Option<&'static str> {
    let mut events = EVENTS.iter();
    let found = events.find(|(name, _)| *name == event);
    found.map(|(_, id)| *id)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;

    const CATALOGUE: &str = include_str!("../../systemd/appconfigd.catalog");

    #[test]
    fn the_catalogue_explains_each_event_once_and_nothing_else() {
        let ids: Vec<&str> = CATALOGUE
            .lines()
            .filter_map(|line| line.strip_prefix("-- "))
            .collect();
        let explained: BTreeSet<&str> = ids.iter().copied().collect();
        assert_eq!(
            explained.len(),
            ids.len(),
            "an identifier stands there twice"
        );
        let named: BTreeSet<&str> = EVENTS.iter().map(|(_, id)| *id).collect();
        assert_eq!(
            named, explained,
            "left: events, right: systemd/appconfigd.catalog"
        );
        assert_eq!(named.len(), EVENTS.len());
        for entry in CATALOGUE.split("\n-- ").skip(1) {
            let (head, body) = entry.split_once("\n\n").unwrap();
            assert!(head.contains("\nSubject: "), "{head}");
            assert!(body.trim().len() > 20, "{head} is not explained");
            let unknown = body.split('@').skip(1).step_by(2);
            for field in unknown {
                let fields = ["PROFILE", "TARGET", "SERVICE", "VERSION", "DIGEST"];
                assert!(fields.contains(&field), "{head}: @{field}@");
            }
        }
    }

    #[test]
    fn every_event_of_the_program_is_in_the_catalogue_and_the_other_way_round() {
        let mut named = BTreeSet::new();
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/daemon");
        let mut folders = vec![source];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                    continue;
                }
                let text = std::fs::read_to_string(path).unwrap();
                let events = text.split("event = \"").skip(1);
                named.extend(events.map(|rest| rest.split('"').next().unwrap().to_owned()));
            }
        }
        let known: BTreeSet<String> = EVENTS.iter().map(|(name, _)| (*name).to_owned()).collect();
        assert_eq!(named, known, "left: src/daemon, right: EVENTS");
    }
}
