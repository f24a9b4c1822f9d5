//! Certificates for servers that listen on loopback during tests.
//! In: a name for the authority. Out: PEM texts of certificates and keys, valid for `127.0.0.1` and `localhost`.
//! Must not read or write files, and must never be used outside tests: keys live as plain text.

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose,
};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// Why a certificate could not be made.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The authority itself.
    #[error("cannot make the certificate authority `{name}`")]
    Authority {
        /// Common name of the authority.
        name: String,
        /// What the library said.
        #[source]
        source: rcgen::Error,
    },
    /// A certificate signed by the authority.
    #[error("cannot make a certificate for `{name}`")]
    Certificate {
        /// Common name of the certificate.
        name: String,
        /// What the library said.
        #[source]
        source: rcgen::Error,
    },
}

/// A certificate and its private key, both PEM.
#[derive(Clone, Debug)]
pub struct CertifiedPair {
    /// The certificate.
    pub certificate: String,
    /// Its private key (PKCS#8).
    pub key: String,
}

/// A certificate authority that lives as long as this value.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    /// A new authority with a fresh key.
    ///
    /// # Errors
    /// When the key or the certificate cannot be generated.
    pub fn new(name: &str) -> Result<Self, TlsError> {
        Self::generate(name).map_err(|source| TlsError::Authority { name: name.to_owned(), source })
    }

    fn generate(name: &str) -> Result<Self, rcgen::Error> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages =
            vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
        Ok(Self { issuer: CertifiedIssuer::self_signed(params, KeyPair::generate()?)? })
    }

    /// The authority's certificate: what clients trust, and what goes into `clientConfig.caBundle`.
    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// A server certificate for loopback.
    ///
    /// # Errors
    /// When the key or the certificate cannot be generated.
    pub fn server(&self, name: &str) -> Result<CertifiedPair, TlsError> {
        self.sign(name).map_err(|source| TlsError::Certificate { name: name.to_owned(), source })
    }

    fn sign(&self, name: &str) -> Result<CertifiedPair, rcgen::Error> {
        let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned(), "localhost".to_owned()])?;
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok(CertifiedPair { certificate: certificate.pem(), key: key.serialize_pem() })
    }
}

/// A key pair that is not part of any certificate: (private PKCS#8, public), both PEM.
///
/// # Errors
/// When the key cannot be generated.
pub fn key_pair(name: &str) -> Result<(String, String), TlsError> {
    let key =
        KeyPair::generate().map_err(|source| TlsError::Certificate { name: name.to_owned(), source })?;
    Ok((key.serialize_pem(), key.public_key_pem()))
}

/// What a TLS server on loopback needs to show this certificate; it asks for none in return.
///
/// # Errors
/// When the texts are no certificate and key that belong together.
pub fn server_config(pair: &CertifiedPair) -> std::io::Result<ServerConfig> {
    let chain: Vec<_> = CertificateDer::pem_slice_iter(pair.certificate.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(std::io::Error::other)?;
    let key = PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).map_err(std::io::Error::other)?;
    let builder = ServerConfig::builder().with_no_client_auth();
    builder.with_single_cert(chain, key).map_err(std::io::Error::other)
}

/// Makes ring the process's only source of cryptography. Several crates would like to choose; the first one wins.
pub fn use_ring() {
    // An error says that a provider was installed before, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
}
