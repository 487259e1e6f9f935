//! CAs that other registries may have their certificates from, besides those the machine trusts.

use reqwest::Certificate;

/// Certificates of CAs; none means that the machine's own are all.
#[derive(Debug, Clone, Default)]
pub struct Authorities(Vec<Certificate>);

impl Authorities {
    /// Adds those of a PEM file; the error says what is wrong with it.
    pub fn add(&mut self, pem: &[u8]) -> Result<(), String> {
        let found = Certificate::from_pem_bundle(pem).map_err(|error| super::root_cause(&error))?;
        if found.is_empty() {
            return Err("there is no certificate in PEM (-----BEGIN CERTIFICATE-----) in it".to_owned());
        }
        // What cannot be used is found out by using it.
        let tried = reqwest::Client::builder().tls_certs_only(found.iter().cloned()).build();
        tried.map_err(|error| super::root_cause(&error))?;
        self.0.extend(found);
        Ok(())
    }

    pub(super) fn certificates(&self) -> Vec<Certificate> {
        self.0.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_certificate_is_refused_in_words() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut authorities = Authorities::default();
        for text in ["", "not PEM", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"] {
            let why = authorities.add(text.as_bytes()).unwrap_err();
            assert!(why.contains("no certificate in PEM"), "{text}: {why}");
        }
        let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        assert!(authorities.add(broken.as_bytes()).is_err());
        assert!(authorities.certificates().is_empty());
    }
}
