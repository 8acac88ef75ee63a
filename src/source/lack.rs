//! Why there are no credentials: whose answer it was, and which file or variable is to be looked at. Of what others wrote
//! only what cannot be a secret: an answer of a credentials' endpoint is never quoted, nor what a program wrote.

use std::error::Error as StdError;

use aws_config::imds::client::error::ImdsError;
use aws_config::meta::ProviderChainError;
use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_sts::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_sts::operation::assume_role::AssumeRoleError;
use aws_sdk_sts::operation::assume_role_with_web_identity::AssumeRoleWithWebIdentityError;

use super::environment::Named;
use super::exchange::Trouble;
use crate::words::{causes, escape, last_cause, one_line};

/// Characters of what others have written.
const LONGEST: usize = 300;

const EVERYWHERE: &str = "check the credentials of this process (environment, shared config files, instance or task \
                          role), `aws.credentials_profile` and `assume_role`";
const LOG_IN: &str =
    "run `aws sso login` for this profile, as the user and with the home directory of this process";

/// Why there are no credentials. No secret is in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lack {
    pub what: String,
    pub next: String,
    /// It may be otherwise in a while, without anybody's doing.
    pub(super) passing: bool,
}

/// Who failed, as far as the error tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Provider {
    /// The shared config files, where they name no other.
    Profile,
    Process,
    /// Of `aws login`.
    Login,
    Sso,
    WebIdentity,
    Role,
    Container,
    Instance,
    Unknown,
}

impl Lack {
    /// `role`: the one that is taken with the credentials, in the end.
    pub(super) fn of(error: &CredentialsError, named: &Named, role: Option<&str>) -> Lack {
        let whole = Chain::of(error);
        let lack = match whole.error {
            CredentialsError::CredentialsNotLoaded(_) => none_at_all(whole.error, named),
            CredentialsError::ProviderTimedOut(_) => Lack {
                what: format!(
                    "the credentials' provider did not answer in time (asked in turn: {})",
                    asked(named, role)
                ),
                next: "does it answer, for this process's user? See environment, shared config files and its host"
                    .to_owned(),
                passing: true,
            },
            _ => whole.failed(named),
        };
        // Paths and names are those of the environment.
        Lack {
            what: escape(&lack.what, &[]),
            next: escape(&lack.next, &[]),
            ..lack
        }
    }
}

/// The causes of an error, with what they tell of its provider.
struct Chain<'a> {
    /// The innermost: a role needs credentials, and it is these that are missing.
    error: &'a CredentialsError,
    /// The shared config files had a hand in it: their errors are wrapped once more.
    by_profile: bool,
}

impl<'a> Chain<'a> {
    fn of(error: &'a CredentialsError) -> Chain<'a> {
        let mut whole = Chain {
            error,
            by_profile: false,
        };
        let mut above: &(dyn StdError + 'static) = error;
        while let Some(cause) = above.source() {
            if let Some(inner) = cause.downcast_ref::<CredentialsError>() {
                whole.by_profile |= above.is::<CredentialsError>();
                whole.error = inner;
            }
            above = cause;
        }
        whole
    }

    fn failed(&self, named: &Named) -> Lack {
        let trouble = find::<Trouble>(self.error);
        let provider = self.provider(named);
        let read = find::<std::io::Error>(self.error).filter(|_| trouble.is_none());
        let role = find::<SdkError<AssumeRoleError>>(self.error).map(answer);
        let web = find::<SdkError<AssumeRoleWithWebIdentityError>>(self.error);
        let sts = role.or_else(|| web.map(answer));
        let (said, passing) = match (trouble, read, sts.flatten()) {
            (Some(trouble), _, _) => (one_line(&trouble.to_string(), LONGEST), passes(trouble)),
            (_, Some(error), _) => return unread(provider, error, named),
            (_, _, Some(answered)) => answered,
            _ => self.said(),
        };
        let said = match provider {
            Provider::Login => "only the AWS CLI can use what `aws login` leaves".to_owned(),
            _ => said,
        };
        let who = provider.words(named);
        let what = match who.as_str() {
            "" => format!("cannot get credentials: {said}"),
            who => format!("cannot get credentials from {who}: {said}"),
        };
        Lack {
            what,
            next: provider.remedy(named),
            passing,
        }
    }

    fn provider(&self, named: &Named) -> Provider {
        let text = last_cause(self.error).to_string();
        let all = self.texts();
        let has = |part: &str| all.contains(part);
        if find::<SdkError<AssumeRoleError>>(self.error).is_some() {
            Provider::Role
        } else if find::<SdkError<AssumeRoleWithWebIdentityError>>(self.error).is_some()
            || has("WebIdentityToken")
        {
            Provider::WebIdentity
        } else if has("credentials-login") {
            Provider::Login
        } else if has("SSO") || has("/sso/cache/") || text.starts_with("UnauthorizedException") {
            Provider::Sso
        } else if has("external process") {
            Provider::Process
        } else if find::<ImdsError>(self.error).is_some() || has("IMDS") {
            Provider::Instance
        } else if has("HTTP credential provider")
            || has("ECS provider")
            || has("failed to load credentials [")
            || has("the auth token could not be used")
        {
            Provider::Container
        } else if self.by_profile || has(UNBUILT) {
            Provider::Profile
        } else if find::<std::io::Error>(self.error).is_some() && named.web_identity_file.is_some()
        {
            // The chain asks a web identity first, and reads no other file of this kind but the container's.
            Provider::WebIdentity
        } else if named.container.is_some() {
            Provider::Container
        } else if ["invalid JSON", "Expected field", "Invalid field"]
            .iter()
            .any(|words| text.starts_with(words))
        {
            // Nobody else answers with JSON but those above.
            Provider::Instance
        } else {
            Provider::Unknown
        }
    }

    /// All causes but those that print whole answers.
    fn texts(&self) -> String {
        let causes = causes(self.error);
        let causes = causes.filter(|error| !error.is::<ImdsError>());
        let texts: Vec<String> = causes.map(ToString::to_string).collect();
        texts.join("\n")
    }

    /// The SDK's own words, without what they quote; and whether it may pass.
    fn said(&self) -> (String, bool) {
        if let Some(ImdsError::ErrorResponse(answer)) = find::<ImdsError>(self.error) {
            return status(answer.response().status().as_u16());
        }
        let text = last_cause(self.error).to_string();
        if let Some((_, rest)) = text.split_once("StatusCode(") {
            let digits = rest.split(')').next().unwrap_or_default();
            return digits.parse().map_or((String::new(), false), status);
        }
        if text.contains("minimum throughput") || text.contains(" timeout ") {
            return (Trouble::TimedOut.to_string(), true);
        }
        (one_line(without_quotes(&text), LONGEST), false)
    }
}

impl Provider {
    fn words(self, named: &Named) -> String {
        match self {
            Provider::Profile => format!("the shared config files ({})", named.config_files()),
            Provider::Process => format!(
                "the `credential_process` of the shared config files ({})",
                named.config_files()
            ),
            Provider::Login => format!(
                "the `login_session` of the shared config files ({})",
                named.config_files()
            ),
            Provider::Sso => "SSO".to_owned(),
            Provider::WebIdentity => "STS (AssumeRoleWithWebIdentity)".to_owned(),
            Provider::Role => "STS (AssumeRole)".to_owned(),
            Provider::Container => named.container_endpoint(),
            Provider::Instance => "the instance metadata service".to_owned(),
            Provider::Unknown => String::new(),
        }
    }

    fn remedy(self, named: &Named) -> String {
        match self {
            Provider::Sso => LOG_IN.to_owned(),
            Provider::Login => "name a profile here whose `credential_process` is \
                                `aws configure export-credentials --profile NAME --format process`"
                .to_owned(),
            Provider::Process => {
                "run it by hand, as the user and in the environment of this process".to_owned()
            }
            Provider::WebIdentity | Provider::Role => {
                "check the role, its trust policy, the region, and that STS can be reached".to_owned()
            }
            Provider::Container => {
                let variable = named.container.as_ref().map_or("its variable", |(name, _)| *name);
                format!("does the endpoint run, and is {variable} right?")
            }
            Provider::Instance => {
                "does this instance have a role? In a container on one, IMDSv2 needs a hop limit of 2".to_owned()
            }
            Provider::Profile => "correct them, or name another profile in `aws.credentials_profile` or AWS_PROFILE".to_owned(),
            Provider::Unknown => EVERYWHERE.to_owned(),
        }
    }
}

/// No provider has any. Those that are merely not set up are passed over.
fn none_at_all(error: &CredentialsError, named: &Named) -> Lack {
    let mut notable: Vec<String> = named.odd();
    let chain = error
        .source()
        .and_then(|source| source.downcast_ref::<ProviderChainError<CredentialsError>>());
    let attempts = chain.map_or(&[][..], ProviderChainError::attempts);
    notable.extend(attempts.iter().filter_map(|attempt| {
        let cause = last_cause(attempt.error()).to_string();
        let dull = ["not set", "not configured", "was not enabled"];
        let told = !dull.iter().any(|words| cause.ends_with(words));
        let cause = one_line(without_quotes(&cause), LONGEST);
        told.then(|| match find::<Trouble>(attempt.error()) {
            // The only one that goes on to the next when it cannot be reached.
            Some(_) => format!("{}: {cause}", Provider::Instance.words(named)),
            None => cause,
        })
    }));
    let what = match notable.as_slice() {
        [] => "no credentials were found".to_owned(),
        some => format!("no credentials were found ({})", some.join("; ")),
    };
    Lack {
        what,
        next: EVERYWHERE.to_owned(),
        passing: false,
    }
}

/// A file that a provider needs.
fn unread(provider: Provider, error: &std::io::Error, named: &Named) -> Lack {
    let (file, next) = match provider {
        Provider::Sso => (
            "the login's file in `~/.aws/sso/cache`".to_owned(),
            LOG_IN.to_owned(),
        ),
        Provider::Profile => (
            format!(
                "a file that the shared config files name ({})",
                named.config_files()
            ),
            "correct `web_identity_token_file` there, and let this process's user read the file"
                .to_owned(),
        ),
        _ => {
            let (variable, path) = named.token_file(provider == Provider::Container);
            (
                format!("the token file `{path}` ({variable})"),
                format!(
                    "correct {variable}, or put the file there for this process's user to read"
                ),
            )
        }
    };
    Lack {
        what: format!("cannot get credentials: cannot read {file}: {error}"),
        next,
        passing: false,
    }
}

/// What STS says: it writes to whoever called, and quotes no keys. `None`: there is no answer of it.
fn answer<E: ProvideErrorMetadata>(error: &SdkError<E>) -> Option<(String, bool)> {
    let SdkError::ServiceError(context) = error else {
        return None;
    };
    let number = context.raw().status().as_u16();
    let (said, passing) = status(number);
    let code = context.err().code().unwrap_or_default();
    let message = context.err().message().unwrap_or_default();
    Some(match (code, message) {
        ("", _) => (said, passing),
        (code, message) => (
            one_line(&format!("{code} ({number}): {message}"), LONGEST),
            passing || code.starts_with("Throttling"),
        ),
    })
}

fn status(number: u16) -> (String, bool) {
    let passing = matches!(number, 429 | 500..);
    (format!("it answers with status {number}"), passing)
}

fn passes(trouble: &Trouble) -> bool {
    matches!(
        trouble,
        Trouble::NotConnected(_) | Trouble::Lost(_) | Trouble::TimedOut
    )
}

/// Who may have been asked, where nobody says who did not answer.
fn asked(named: &Named, role: Option<&str>) -> String {
    let mut all = vec![format!(
        "the shared config files (`credential_process`, SSO, roles: {})",
        named.config_files()
    )];
    if named.web_identity_file.is_some() {
        all.push("STS for the web identity (AWS_WEB_IDENTITY_TOKEN_FILE)".to_owned());
    }
    if named.container.is_some() {
        all.push(named.container_endpoint());
    }
    if !named.no_instance {
        all.push(Provider::Instance.words(named));
    }
    all.extend(role.map(|role| format!("STS for the role {role}")));
    all.join(", ")
}

/// What the SDK says before what is wrong with a profile.
const UNBUILT: &str = "ProfileFile provider could not be built: ";

/// Where the SDK's words quote an answer: after which of them, and with what that ends which may be shown (a code, a field).
const QUOTING: [(&str, &str); 5] = [
    ("failed to load credentials [", "]"),
    ("Incorrect IMDS/IAM configuration: [", "]"),
    ("Error retrieving credentials from IMDS: ", " "),
    ("for ECS provider (", ")"),
    ("Invalid field in response: `", "`"),
];

/// Nothing that an endpoint answered, nor what a `credential_process` wrote to its standard error.
fn without_quotes(text: &str) -> &str {
    let text = text.split("Stderr:").next().unwrap_or_default();
    let text = text.strip_prefix(UNBUILT).unwrap_or(text);
    for (words, end) in QUOTING {
        if let Some((before, quoted)) = text.split_once(words) {
            let shown = quoted
                .split_once(end)
                .map_or(0, |(shown, _)| shown.len() + end.len());
            let length = before.len() + words.len() + shown;
            return text.get(..length).unwrap_or_default().trim_end();
        }
    }
    text.trim_end()
}

/// The first cause of this type. The SDK's own rendering of a chain prints the whole raw response, so the chain is only
/// ever searched.
pub(super) fn find<'a, T: StdError + 'static>(
    error: &'a (dyn StdError + 'static),
) -> Option<&'a T> {
    causes(error).find_map(|error| error.downcast_ref::<T>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_quoted_but_codes_and_names() {
        for (text, shown) in [
            (
                "external process exited with code exit status: 3. Stderr: secret",
                "external process exited with code exit status: 3.",
            ),
            (
                "failed to load credentials [Code]: secret",
                "failed to load credentials [Code]",
            ),
            (
                "failed to load credentials [secret",
                "failed to load credentials [",
            ),
            (
                "Incorrect IMDS/IAM configuration: [Code] secret. Hint: x",
                "Incorrect IMDS/IAM configuration: [Code]",
            ),
            (
                "Error retrieving credentials from IMDS: Code secret",
                "Error retrieving credentials from IMDS: Code",
            ),
            (
                "invalid full URI for ECS provider (reason): http://user:secret@host",
                "invalid full URI for ECS provider (reason)",
            ),
            (
                "could not parse response: Invalid field in response: `Expiration`. secret",
                "could not parse response: Invalid field in response: `Expiration`",
            ),
            ("nothing of the kind", "nothing of the kind"),
        ] {
            assert_eq!(without_quotes(text), shown);
        }
    }

    #[test]
    fn a_role_that_lacks_credentials_says_which_are_missing() {
        let inner = CredentialsError::not_loaded_no_source();
        let error = CredentialsError::provider_error(CredentialsError::unhandled(inner));
        let lack = Lack::of(&error, &Named::default(), None);
        assert!(lack.what.starts_with("no credentials were found"));
    }
}
