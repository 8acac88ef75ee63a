//! Reads the files that settings name.

use std::io::Read as _;
use std::path::Path;

/// Bytes of a schema or template.
const LARGEST: u64 = 16 * 1024 * 1024;

/// The bytes of a regular file, or what stands in the way.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, String> {
    let cannot = |fault: std::io::Error| format!("cannot read it: {fault}");
    // asked before it is opened: to open a FIFO could wait for ever
    let metadata = std::fs::metadata(path).map_err(cannot)?;
    if !metadata.is_file() {
        return Err("not a regular file".to_owned());
    }
    let file = std::fs::File::open(path).map_err(cannot)?;
    let mut bytes = Vec::new();
    file.take(LARGEST + 1)
        .read_to_end(&mut bytes)
        .map_err(cannot)?;
    match bytes.len() as u64 > LARGEST {
        true => Err(format!("larger than {} MiB", LARGEST / 1024 / 1024)),
        false => Ok(bytes),
    }
}
