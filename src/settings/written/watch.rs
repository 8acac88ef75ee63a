//! Watches as written.

use super::Names;
use crate::settings::field::written;

written!(Watch, "a watch" { paths: Names, notify: Names });
