//! Lists in fields: names that lines show one after the other, and that the journal gets each by itself.

/// Between two names. No name on a screen has it: lines never show control characters.
const BETWEEN: char = '\u{1f}';
/// Before what only lines say: how many more there are.
const AND_MORE: char = '\u{1e}';

/// A field's value for these names; `more` have been left out.
pub fn list<'a>(names: impl Iterator<Item = &'a str>, more: usize) -> String {
    let names: Vec<&str> = names.collect();
    let mut list = names.join(&BETWEEN.to_string());
    if more > 0 {
        list.push(AND_MORE);
        list.push_str(&format!(" and {more} more"));
    }
    list
}

/// As lines show it.
pub(super) fn shown(value: &str) -> String {
    match value.contains([BETWEEN, AND_MORE]) {
        true => value.replace(BETWEEN, ", ").replace(AND_MORE, ""),
        false => value.to_owned(),
    }
}

/// The names by themselves.
pub(super) fn names(value: &str) -> impl Iterator<Item = &str> {
    let names = value.split(AND_MORE).next().unwrap_or_default();
    names.split(BETWEEN).filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_shown_with_commas_and_taken_apart_without_what_was_left_out() {
        let value = list(["a, b", "c"].into_iter(), 3);
        assert_eq!(shown(&value), "a, b, c and 3 more");
        assert_eq!(names(&value).collect::<Vec<_>>(), ["a, b", "c"]);
        assert_eq!(shown("plain"), "plain");
        assert_eq!(names("").count(), 0);
    }
}
