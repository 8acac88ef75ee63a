//! Watches as written.

use super::Names;
use crate::settings::field::written;

written!(Watch, "a watch" {
    /// one, or a list. Parts may be patterns: `*`, `?` and `[…]` stand for characters of a name (a dot at its
    /// beginning only where it is written), `**` alone for directories at any depth, hidden ones and links left
    /// out. A directory that is written out means the files in it. Below the alternate root, as targets are
    paths: Names = "required",
    /// services by name: one, or a list
    notify: Names = "required",
});
