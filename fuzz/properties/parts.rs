//! An input of several parts, as somebody can write it by hand.

const SEPARATOR: &[u8] = b"\n=====\n";

/// What stands between lines of five `=`.
pub fn parts(bytes: &[u8]) -> Vec<&[u8]> {
    let mut parts = Vec::new();
    let mut rest = bytes;
    while let Some(at) = find(rest, SEPARATOR) {
        let (part, behind) = rest.split_at(at);
        parts.push(part);
        rest = &behind[SEPARATOR.len()..];
    }
    parts.push(rest);
    parts
}

/// Where `wanted` begins.
pub fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes
        .windows(wanted.len())
        .position(|window| window == wanted)
}
