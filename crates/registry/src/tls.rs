//! Which certificates are accepted, and which are shown.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use crate::error::{CertificateError, Error};
use crate::identity::Identities;

/// TLS settings of one registry, built at the first use of https: a machine without certificates can still
/// reach registries that need none.
pub(crate) struct Tls {
    /// As the user names the registry.
    pub(crate) host: String,
    /// Where its certificates may be.
    pub(crate) directories: Vec<PathBuf>,
    /// Any certificate will do.
    pub(crate) insecure: bool,
    pub(crate) configs: Mutex<Option<Configs>>,
}

#[derive(Clone)]
pub(crate) struct Configs {
    /// For the registry itself: shows a client certificate.
    pub(crate) own: Arc<ClientConfig>,
    /// For hosts the registry refers to. Trusts the registry's CA too, which token servers often share, but
    /// shows them no certificate.
    pub(crate) other: Arc<ClientConfig>,
}

impl Tls {
    pub(crate) fn configs(&self) -> Result<Configs, Error> {
        let mut built = self.configs.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(configs) = &*built {
            return Ok(configs.clone());
        }
        let configs = self.build()?;
        *built = Some(configs.clone());
        Ok(configs)
    }

    fn build(&self) -> Result<Configs, Error> {
        let files = Files::read(&self.directories)?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = self.verifier(&provider, &files)?;
        let builder = || {
            ClientConfig::builder_with_provider(Arc::clone(&provider))
                .with_safe_default_protocol_versions()
                .map(|builder| builder.dangerous().with_custom_certificate_verifier(verifier.clone()))
                .map_err(|source| Error::Tls { host: self.host.clone(), source: source.into() })
        };
        let mut other = builder()?.with_no_client_auth();
        let mut own = match identities(files.identities, &provider)? {
            none if none.is_empty() => other.clone(),
            some => builder()?.with_client_cert_resolver(Arc::new(Identities::new(some))),
        };
        for config in [&mut own, &mut other] {
            config.alpn_protocols = vec![b"http/1.1".to_vec()];
        }
        Ok(Configs { own: Arc::new(own), other: Arc::new(other) })
    }

    fn verifier(
        &self,
        provider: &Arc<CryptoProvider>,
        files: &Files,
    ) -> Result<Arc<dyn ServerCertVerifier>, Error> {
        let algorithms = provider.signature_verification_algorithms;
        if self.insecure {
            return Ok(Arc::new(Verifier { trust: Trust::Anyone, algorithms }));
        }
        let mut roots = RootCertStore::empty();
        // Honours SSL_CERT_FILE and SSL_CERT_DIR, as other TLS clients do. What is unusable is passed over.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        for (path, certificate) in &files.authorities {
            roots
                .add(certificate.clone())
                .map_err(|source| Error::Certificate { path: path.clone(), source: source.into() })?;
        }
        if roots.is_empty() {
            return Err(Error::NoRoots { host: self.host.clone() });
        }
        let chain = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider))
            .build()
            .map_err(|source| Error::Tls { host: self.host.clone(), source: Box::new(source) })?;
        let pinned = files.authorities.iter().map(|(_, certificate)| certificate.clone()).collect();
        Ok(Arc::new(Verifier { trust: Trust::Chain { chain, pinned }, algorithms }))
    }
}

/// What a `certs.d/HOST` directory holds (containers-certs.d(5)).
struct Files {
    /// `*.crt`
    authorities: Vec<(PathBuf, CertificateDer<'static>)>,
    /// Pairs of `*.cert` and `*.key`, in the order of their names.
    identities: Vec<Pair>,
}

struct Pair {
    path: PathBuf,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

impl Files {
    /// Reads the first of the directories that is there. One that may not be entered is passed
    /// over: an ordinary user cannot read everything an administrator keeps below /etc.
    fn read(directories: &[PathBuf]) -> Result<Self, Error> {
        let mut files = Self { authorities: Vec::new(), identities: Vec::new() };
        for directory in directories {
            let mut names = match list(directory) {
                Ok(names) => names,
                Err(error)
                    if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied) =>
                {
                    continue;
                }
                Err(source) => {
                    let path = directory.clone();
                    return Err(Error::Certificate { path, source: source.into() });
                }
            };
            names.sort();
            for path in names {
                files.add(&path).map_err(|source| Error::Certificate { path, source })?;
            }
            break;
        }
        Ok(files)
    }

    fn add(&mut self, path: &Path) -> Result<(), CertificateError> {
        let beside = |extension: &str| {
            let other = path.with_extension(extension);
            let missing = || other.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if other.exists() {
                Ok(other.clone())
            } else {
                Err(CertificateError::Pair { missing: missing() })
            }
        };
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("crt") => {
                let certificates = certificates(path)?;
                self.authorities.extend(certificates.into_iter().map(|c| (path.to_owned(), c)));
            }
            Some("cert") => {
                let key = beside("key")?;
                let chain = certificates(path)?;
                let key = PrivateKeyDer::from_pem_slice(&fs::read(key)?).map_err(CertificateError::Pem)?;
                self.identities.push(Pair { path: path.to_owned(), chain, key });
            }
            Some("key") => drop(beside("cert")?),
            _ => {}
        }
        Ok(())
    }
}

/// Certificates with the keys that belong to them.
fn identities(pairs: Vec<Pair>, provider: &CryptoProvider) -> Result<Vec<CertifiedKey>, Error> {
    let certified = |Pair { path, chain, key }| {
        CertifiedKey::from_der(chain, key, provider)
            .map_err(|source| Error::Certificate { path, source: source.into() })
    };
    pairs.into_iter().map(certified).collect()
}

fn list(directory: &Path) -> io::Result<Vec<PathBuf>> {
    fs::read_dir(directory)?.map(|entry| Ok(entry?.path())).collect()
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, CertificateError> {
    let text = fs::read(path)?;
    let found: Vec<_> =
        CertificateDer::pem_slice_iter(&text).collect::<Result<_, _>>().map_err(CertificateError::Pem)?;
    if found.is_empty() { Err(CertificateError::Empty) } else { Ok(found) }
}

#[derive(Debug)]
struct Verifier {
    trust: Trust,
    algorithms: rustls::crypto::WebPkiSupportedAlgorithms,
}

#[derive(Debug)]
enum Trust {
    Anyone,
    Chain {
        chain: Arc<WebPkiServerVerifier>,
        /// Trusted as they are: a self-signed server certificate copied into certs.d usually carries CA:TRUE,
        /// which webpki refuses in a server's place and every other engine accepts. Its validity period is
        /// not looked at; whoever put it there meant exactly this certificate.
        pinned: Vec<CertificateDer<'static>>,
    },
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        match &self.trust {
            Trust::Anyone => Ok(ServerCertVerified::assertion()),
            Trust::Chain { pinned, .. } if pinned.contains(end_entity) => {
                rustls::client::verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
                Ok(ServerCertVerified::assertion())
            }
            Trust::Chain { chain, .. } => {
                chain.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
            }
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
