//! What TLS connections are made with: the cryptography, and the authorities that are trusted beside the system's.

use std::path::Path;

use reqwest::Certificate;

use super::fault::Fault;

#[cfg(not(any(feature = "ring", feature = "aws-lc")))]
compile_error!("one of the features `ring` and `aws-lc` is needed for TLS");

/// The certificates of a PEM bundle; none without one.
pub fn authorities(bundle: Option<&Path>) -> Result<Vec<Certificate>, Fault> {
    let Some(path) = bundle else {
        return Ok(Vec::new());
    };
    let problem = |what: &str| {
        Fault::operator(format!(
            "cannot use the CA bundle `{}`: {what}; it is named by `aws.ca_bundle` or AWS_CA_BUNDLE",
            path.display()
        ))
    };
    let pem = std::fs::read(path).map_err(|error| problem(&error.to_string()))?;
    let certificates =
        Certificate::from_pem_bundle(&pem).map_err(|_| problem("it is not a PEM file"))?;
    if certificates.is_empty() {
        return Err(problem("it holds no certificate"));
    }
    Ok(certificates)
}
