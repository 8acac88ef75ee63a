//! Reads the files that settings name.

use std::io::{ErrorKind, Read as _};
use std::path::Path;

/// Bytes of a schema or template.
const LARGEST: u64 = 16 * 1024 * 1024;

/// The bytes of a regular file, or what stands in the way.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, String> {
    let cannot = |fault: std::io::Error| format!("cannot read it: {fault}; {}", next_step(&fault));
    // asked before it is opened: to open a FIFO could wait for ever
    let metadata = std::fs::metadata(path).map_err(cannot)?;
    if !metadata.is_file() {
        return Err("not a regular file; name one that is, or correct the path".to_owned());
    }
    let file = std::fs::File::open(path).map_err(cannot)?;
    let mut bytes = Vec::new();
    file.take(LARGEST + 1)
        .read_to_end(&mut bytes)
        .map_err(cannot)?;
    match bytes.len() as u64 > LARGEST {
        true => Err(format!(
            "larger than {} MiB, which is the most that is read; name a smaller file",
            LARGEST / 1024 / 1024
        )),
        false => Ok(bytes),
    }
}

fn next_step(fault: &std::io::Error) -> &'static str {
    match fault.kind() {
        ErrorKind::NotFound => "put the file there, or correct the path that leads to it",
        ErrorKind::PermissionDenied => "let the user who runs appconfigd read it",
        _ => "look at the file and the disk that it lies on",
    }
}
