//! The environment variables that this module reads itself; the SDK reads its own.

use std::path::PathBuf;

/// The variables, as they were when the source was made.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    pub http_proxy: Option<String>,
    pub https_proxy: Option<String>,
    pub all_proxy: Option<String>,
    pub no_proxy: Option<String>,
    /// AWS_CA_BUNDLE: the CLI and boto3 read it, no crate of the SDK does.
    pub ca_bundle: Option<PathBuf>,
}

impl Environment {
    pub fn of_process() -> Environment {
        Environment {
            http_proxy: first(&["HTTP_PROXY", "http_proxy"]),
            https_proxy: first(&["HTTPS_PROXY", "https_proxy"]),
            all_proxy: first(&["ALL_PROXY", "all_proxy"]),
            no_proxy: first(&["NO_PROXY", "no_proxy"]),
            ca_bundle: first(&["AWS_CA_BUNDLE"]).map(PathBuf::from),
        }
    }
}

/// The first of the variables that is set and not empty.
#[expect(
    clippy::disallowed_methods,
    reason = "the one function of this module that reads the environment"
)]
fn first(names: &[&str]) -> Option<String> {
    names
        .iter()
        .filter_map(|name| std::env::var(name).ok())
        .find(|value| !value.is_empty())
}
