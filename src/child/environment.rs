//! The child's variables, as the target that holds them says.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

/// Names and values in the order of the names. None where there is no file: all of its profiles may be optional.
pub fn read(file: Option<&Path>) -> io::Result<Vec<(String, String)>> {
    let Some(file) = file else {
        return Ok(Vec::new());
    };
    let bytes = match std::fs::read(file) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(unreadable(file, &error.to_string())),
    };
    let variables: BTreeMap<String, String> = serde_json::from_slice(&bytes)
        .map_err(|_| unreadable(file, "it is not what was written there"))?;
    // What cannot stand in an environment would make the start fail without a word on why.
    let unfit =
        |(name, value): (&String, &String)| name.contains(['=', '\0']) || value.contains('\0');
    if variables.iter().any(unfit) {
        return Err(unreadable(file, "it is not what was written there"));
    }
    Ok(variables.into_iter().collect())
}

fn unreadable(file: &Path, why: &str) -> io::Error {
    let file = file.display();
    io::Error::other(format!("cannot read its variables in `{file}`: {why}"))
}
