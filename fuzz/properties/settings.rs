use super::reading;

/// A settings file, whatever its bytes: it is read in time; the same bytes mean the same twice; it is valid, and then
/// every name in it leads somewhere and every path is absolute, or it has at least one error; and each problem has a
/// message and a place in the text, and shows nothing that a terminal obeys.
pub fn hold(bytes: &[u8]) {
    reading::hold(bytes, &[]);
}
