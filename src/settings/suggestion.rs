//! "did you mean": the known name that is closest to an unknown one.

/// The nearest of `known`, if it is near enough to be what was meant.
pub fn nearest<'a>(wrong: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let wrong = wrong.to_lowercase();
    let limit = (wrong.chars().count() / 3).max(1);
    known
        .into_iter()
        .filter_map(|name| {
            let distance = distance(&wrong, &name.to_lowercase());
            let contained = wrong.len() >= 4 && name.contains(wrong.as_str());
            (distance <= limit || contained).then_some((distance, name))
        })
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// The help for an unknown key: the nearest, else all that there are, however long that list is.
pub fn key_help(wrong: &str, known: &[&str]) -> String {
    match nearest(wrong, known.iter().copied()) {
        Some(name) => format!("did you mean `{name}`?"),
        None => format!("known keys: {}", list(known)),
    }
}

/// The help for an unknown name: the nearest, else all that there are, or of many those that are written most like it.
pub fn help(wrong: &str, known: &[&str], all: &str) -> Option<String> {
    const MANY: usize = 12;
    if let Some(name) = nearest(wrong, known.iter().copied()) {
        return Some(format!("did you mean `{name}`?"));
    }
    let more = known.len().saturating_sub(MANY);
    if more == 0 {
        return (!known.is_empty()).then(|| format!("{all} {}", list(known)));
    }
    let mut known = known.to_vec();
    known.sort_by_cached_key(|name| distance(wrong, name));
    known.truncate(MANY);
    Some(format!("{all} {} and {more} more", list(&known)))
}

/// `a`, `b`, `c`, each in backticks.
pub fn list(names: &[&str]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    quoted.join(", ")
}

/// Edits (insert, delete, replace, swap of neighbours) from one to the other.
fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut before: Vec<usize> = Vec::new();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    let mut previous = None;
    for (i, a) in from.chars().enumerate() {
        let mut next = vec![i + 1];
        let at = |row: &[usize], index: usize| row.get(index).copied().unwrap_or(usize::MAX / 2);
        for (j, b) in to.iter().enumerate() {
            let replaced = at(&row, j) + usize::from(a != *b);
            let mut best = replaced.min(at(&row, j + 1) + 1).min(at(&next, j) + 1);
            let swapped = j > 0 && previous == Some(*b) && to.get(j - 1) == Some(&a);
            if swapped {
                best = best.min(at(&before, j - 1) + 1);
            }
            next.push(best);
        }
        before = std::mem::replace(&mut row, next);
        previous = Some(a);
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_keyboard_is_recognised_and_another_word_is_not() {
        let known = ["poll_interval", "application", "required"];
        assert_eq!(nearest("poll_intervall", known), Some("poll_interval"));
        assert_eq!(nearest("aplication", known), Some("application"));
        assert_eq!(nearest("interval", known), Some("poll_interval"));
        assert_eq!(nearest("sensitive", known), None);
    }

    #[test]
    fn who_is_far_off_is_shown_all_keys_and_of_many_names_the_most_alike() {
        let names: Vec<String> = (0..20).map(|number| format!("profile-{number}")).collect();
        let mut names: Vec<&str> = names.iter().map(String::as_str).collect();
        names.push("zzzz");
        let all = key_help("qq", &names);
        assert!(
            all.contains("`profile-19`") && all.contains("`zzzz`"),
            "{all}"
        );
        assert_eq!(
            key_help("profile-6", &["profile6"]),
            "did you mean `profile6`?"
        );
        let some = help("qq", &names, "there are").unwrap();
        assert!(
            some.starts_with("there are `zzzz`, `profile-0`, "),
            "{some}"
        );
        assert!(some.ends_with(" and 9 more"), "{some}");
        assert_eq!(
            help("qq", &["a", "b"], "there are").unwrap(),
            "there are `a`, `b`"
        );
        assert_eq!(help("qq", &[], "there are"), None);
    }

    #[test]
    fn two_swapped_letters_are_one_edit() {
        assert_eq!(distance("nignx", "nginx"), 1);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("abc", ""), 3);
        assert_eq!(distance("kitten", "sitting"), 3);
    }
}
