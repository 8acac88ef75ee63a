//! The process's TLS: one crypto provider for every client.

/// Makes sure that the process has a crypto provider: ring, or aws-lc where that feature is on. Cheap to call again; a
/// provider that somebody else has installed stays.
pub fn ensure_provider() {
    if rustls::crypto::CryptoProvider::get_default().is_some() {
        return;
    }
    #[cfg(feature = "aws-lc")]
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    #[cfg(not(feature = "aws-lc"))]
    let provider = rustls::crypto::ring::default_provider();
    // An error means that another thread was faster.
    let _ = provider.install_default();
}
