//! The environment variables that this module reads itself; the SDK reads its own.

use std::io::{self, ErrorKind};
use std::path::PathBuf;

use rustix::fs::{Access, access};

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

/// The variables that say where the SDK looks for credentials, for messages. No secret is in them.
#[derive(Clone, Debug, Default)]
pub struct Named {
    /// With the variable's name.
    pub container: Option<(&'static str, String)>,
    pub web_identity_file: Option<String>,
    /// The metadata service is not to be asked.
    pub no_instance: bool,
    container_file: Option<String>,
    config: Option<String>,
    credentials: Option<String>,
    profile: Option<String>,
    home: Option<String>,
    /// The one of the two parts of a key that is missing.
    missing: Option<&'static str>,
}

impl Named {
    pub fn of_process() -> Named {
        let container = [
            "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
            "AWS_CONTAINER_CREDENTIALS_FULL_URI",
        ];
        let parts = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"];
        let missing: Vec<&str> = parts
            .into_iter()
            .filter(|part| first(&[part]).is_none())
            .collect();
        Named {
            container: container
                .into_iter()
                .find_map(|name| Some((name, first(&[name])?))),
            web_identity_file: first(&["AWS_WEB_IDENTITY_TOKEN_FILE"]),
            no_instance: first(&["AWS_EC2_METADATA_DISABLED"])
                .is_some_and(|value| value.eq_ignore_ascii_case("true")),
            container_file: first(&["AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"]),
            config: first(&["AWS_CONFIG_FILE"]),
            credentials: first(&["AWS_SHARED_CREDENTIALS_FILE"]),
            profile: first(&["AWS_PROFILE"]),
            home: first(&["HOME"]),
            missing: match missing.as_slice() {
                [one] => Some(one),
                _ => None,
            },
        }
    }

    /// The two shared config files.
    pub fn config_files(&self) -> String {
        let config = self.config.as_deref().unwrap_or("~/.aws/config");
        let credentials = self.credentials.as_deref().unwrap_or("~/.aws/credentials");
        format!("`{config}`, `{credentials}`")
    }

    /// Without what may be a password.
    pub fn container_endpoint(&self) -> String {
        let Some((name, uri)) = &self.container else {
            return "the container's endpoint".to_owned();
        };
        let uri: Option<http::Uri> = uri.parse().ok();
        let authority = uri.as_ref().and_then(|uri| uri.authority());
        let host = authority.map_or("", |host| {
            host.as_str().rsplit('@').next().unwrap_or_default()
        });
        match host {
            "" => format!("the container's endpoint ({name})"),
            host => format!("the container's endpoint {host} ({name})"),
        }
    }

    /// A file that holds a token, with the variable that names it.
    pub fn token_file(&self, of_container: bool) -> (&'static str, &str) {
        let (name, path) = match of_container {
            true => (
                "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
                &self.container_file,
            ),
            false => ("AWS_WEB_IDENTITY_TOKEN_FILE", &self.web_identity_file),
        };
        (name, path.as_deref().unwrap_or("-"))
    }

    /// What is set and leads to nothing, and what would be looked at and cannot.
    pub fn odd(&self) -> Vec<String> {
        let missing = self.missing.map(|name| format!("{name} is not set"));
        let files = [
            ("AWS_CONFIG_FILE", &self.config, ".aws/config"),
            (
                "AWS_SHARED_CREDENTIALS_FILE",
                &self.credentials,
                ".aws/credentials",
            ),
        ];
        let homeless = self.home.is_none() && files.iter().any(|(_, file, _)| file.is_none());
        let homeless = homeless.then(|| "HOME is not set, so `~/.aws` is not looked at".to_owned());
        let unread = files
            .into_iter()
            .filter_map(|(name, file, usual)| match (file, &self.home) {
                (Some(file), _) => {
                    let error = unreadable(file)?;
                    Some(format!("{name} names `{file}`: {error}"))
                }
                (None, Some(home)) => {
                    let file = format!("{}/{usual}", home.trim_end_matches('/'));
                    let error = unreadable(&file)?;
                    // Most have none.
                    let told = error.kind() != ErrorKind::NotFound;
                    told.then(|| format!("`{file}`: {error}"))
                }
                (None, None) => None,
            });
        let profile = self.profile.as_deref();
        let profile = profile.map(|profile| format!("AWS_PROFILE is `{profile}`"));
        missing
            .into_iter()
            .chain(homeless)
            .chain(unread)
            .chain(profile)
            .collect()
    }
}

fn unreadable(file: &str) -> Option<io::Error> {
    access(file, Access::READ_OK).err().map(io::Error::from)
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
