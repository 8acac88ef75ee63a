//! The proxies that the environment names.
//!
//! The HTTP client's own reading of these variables is off: it would send the requests for credentials (EC2 and
//! container metadata services) and those to this machine through the proxy unless NO_PROXY says otherwise, and the
//! operator who sets HTTPS_PROXY for the way out rarely thinks of that.

use reqwest::{NoProxy, Proxy};

use super::environment::Environment;
use super::fault::Fault;
use crate::settings::is_loopback;

/// Link-local addresses (EC2 metadata, containers, EKS Pod Identity), their IPv6 forms, and this machine.
const NEVER_PROXIED: &str =
    "169.254.0.0/16,fe80::/10,fd00:ec2::254,fd00:ec2::23,127.0.0.0/8,::1,localhost";

/// The proxies for http and https requests; NO_PROXY adds to the addresses that are never proxied.
pub fn proxies(environment: &Environment) -> Result<Vec<Proxy>, Fault> {
    let no_proxy = match &environment.no_proxy {
        Some(list) => format!("{NEVER_PROXIED},{list}"),
        None => NEVER_PROXIED.to_owned(),
    };
    let all = environment
        .all_proxy
        .as_deref()
        .map(|url| ("ALL_PROXY", url));
    let http = environment
        .http_proxy
        .as_deref()
        .map(|url| ("HTTP_PROXY", url))
        .or(all);
    let https = environment
        .https_proxy
        .as_deref()
        .map(|url| ("HTTPS_PROXY", url))
        .or(all);
    let mut proxies = Vec::new();
    for (named, make) in [
        (http, Proxy::http as fn(String) -> reqwest::Result<Proxy>),
        (https, Proxy::https as fn(String) -> reqwest::Result<Proxy>),
    ] {
        if let Some((variable, url)) = named {
            let proxy = with_scheme(url)
                .and_then(|url| make(url).ok())
                .ok_or_else(|| invalid(variable))?;
            proxies.push(proxy.no_proxy(NoProxy::from_string(&no_proxy)));
        }
    }
    Ok(proxies)
}

/// Host and port of the proxy that requests to this URL take, and the variable that names it.
pub fn of(environment: &Environment, url: &http::Uri) -> Option<(String, &'static str)> {
    let all = environment.all_proxy.as_deref();
    let all = all.map(|proxy| (proxy, "ALL_PROXY"));
    let own = match url.scheme_str() {
        Some("https") => environment
            .https_proxy
            .as_deref()
            .map(|proxy| (proxy, "HTTPS_PROXY")),
        _ => environment
            .http_proxy
            .as_deref()
            .map(|proxy| (proxy, "HTTP_PROXY")),
    };
    let (proxy, variable) = own.or(all)?;
    let host = url.host()?;
    let list = environment.no_proxy.as_deref().unwrap_or_default();
    let never = list
        .split(',')
        .map(str::trim)
        .filter(|entry| !entry.is_empty());
    let spared = is_loopback(&url.to_string())
        || host.starts_with("169.254.")
        || never.into_iter().any(|entry| {
            let entry = entry.trim_start_matches('.');
            entry == "*" || host == entry || host.ends_with(&format!(".{entry}"))
        });
    if spared {
        return None;
    }
    let proxy: http::Uri = with_scheme(proxy)?.parse().ok()?;
    let port = proxy.port_u16().unwrap_or(80);
    Some((format!("{}:{port}", proxy.host()?), variable))
}

/// A URL without scheme means http, as curl has it. Other schemes are not spoken.
fn with_scheme(url: &str) -> Option<String> {
    match url.split_once("://") {
        None => Some(format!("http://{url}")),
        Some(("http" | "https", _)) => Some(url.to_owned()),
        Some(_) => None,
    }
}

/// The value may hold a password, so it is not shown.
fn invalid(variable: &str) -> Fault {
    Fault::operator(format!(
        "the environment variable {variable} is not the URL of an http or https proxy: correct it, \
         or list the endpoint in NO_PROXY and unset it"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_scheme_has_its_proxy_and_all_proxy_fills_in() {
        let environment = Environment {
            https_proxy: Some("http://one:1".into()),
            all_proxy: Some("two:2".into()),
            ..Environment::default()
        };
        assert_eq!(proxies(&environment).expect("valid").len(), 2);
        assert!(proxies(&Environment::default()).expect("valid").is_empty());
    }

    #[test]
    fn the_proxy_of_a_url_is_named_without_its_password_and_not_where_it_is_spared() {
        let environment = Environment {
            https_proxy: Some("http://user:hunter2@proxy.example:3128".into()),
            no_proxy: Some("internal, .example.org".into()),
            ..Environment::default()
        };
        let of = |url: &str| super::of(&environment, &url.parse().expect("a URL"));
        let proxy = Some(("proxy.example:3128".to_owned(), "HTTPS_PROXY"));
        assert_eq!(of("https://appconfigdata.eu-west-1.amazonaws.com"), proxy);
        for spared in [
            "http://appconfigdata.eu-west-1.amazonaws.com",
            "https://internal/",
            "https://a.example.org/",
            "https://127.0.0.1/",
        ] {
            assert_eq!(of(spared), None, "{spared}");
        }
    }

    #[test]
    fn a_proxy_that_is_not_spoken_is_named_without_its_password() {
        for url in ["socks5://user:hunter2@proxy:1", "http://user:hunter2@:x"] {
            let environment = Environment {
                https_proxy: Some(url.into()),
                ..Environment::default()
            };
            let fault = proxies(&environment).expect_err("invalid");
            assert!(fault.message.contains("HTTPS_PROXY"), "{}", fault.message);
            assert!(!fault.message.contains("hunter2"), "{}", fault.message);
        }
    }
}
