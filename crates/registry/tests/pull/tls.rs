//! TLS: whom to trust, what to show, and what never goes out in the clear.

use std::path::Path;
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;

use crate::common::{Reply, Request, Server, hasty, make_certificates};
use loment_registry::{CertificateError, Error, Manifest, Options, Problem, Registry};

/// A server with the certificate `name`, which asks clients for one when told to.
pub(crate) fn serve(
    directory: &Path,
    name: &str,
    clients: bool,
    handler: impl Fn(&Request) -> Reply + Send + Sync + 'static,
) -> Server {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let certificate =
        |name: &str| CertificateDer::from_pem_file(directory.join(format!("{name}.crt"))).unwrap();
    let key = PrivateKeyDer::from_pem_file(directory.join(format!("{name}.key"))).unwrap();
    let builder = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap();
    let builder = if clients {
        let mut roots = RootCertStore::empty();
        roots.add(certificate("ca")).unwrap();
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
        builder.with_client_cert_verifier(verifier.build().unwrap())
    } else {
        builder.with_no_client_auth()
    };
    Server::tls(builder.with_single_cert(vec![certificate(name)], key).unwrap(), handler)
}

fn fine(_: &Request) -> Reply {
    Reply::new(200, &[], b"{}")
}

fn get(host: &str, options: Options) -> Result<Manifest, Error> {
    Registry::new(host, options).unwrap().manifest("a/b", "latest")
}

/// Puts files into `certs.d/HOST` below the directory.
pub(crate) fn trust(directory: &Path, host: &str, files: &[(&str, &str)]) -> Options {
    let own = directory.join("certs.d").join(host);
    std::fs::create_dir_all(&own).unwrap();
    for (from, to) in files {
        std::fs::copy(directory.join(from), own.join(to)).unwrap();
    }
    Options { certs_dir: vec![directory.join("missing"), directory.join("certs.d")], ..hasty() }
}

#[test]
fn certificates_decide() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    make_certificates(directory);
    let server = serve(directory, "server", false, fine);
    let host = server.host();

    let error = get(&host, hasty()).unwrap_err();
    assert!(matches!(error, Error::Tls { .. } | Error::NoRoots { .. }), "{error:?}");
    assert!(error.to_string().contains(&format!("certs.d/{host}/ca.crt")), "{error}");
    get(&host, Options { insecure: true, ..hasty() }).unwrap();

    let trusted = trust(directory, &host, &[("ca.crt", "ca.crt")]);
    get(&host, trusted).unwrap();
    // The certificate does not name 127.0.0.2, whatever CA vouches for it.
    let other = format!("localhost.test:{}", server.address.port());
    let hosts_file = directory.join("hosts");
    std::fs::write(&hosts_file, "127.0.0.1 localhost.test\n").unwrap();
    let renamed = Options { hosts_file, ..trust(directory, &other, &[("ca.crt", "ca.crt")]) };
    assert!(matches!(get(&other, renamed), Err(Error::Tls { .. })));
}

#[test]
fn a_self_signed_certificate_can_be_trusted_as_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    make_certificates(directory);
    let server = serve(directory, "self", false, fine);
    let trusted = trust(directory, &server.host(), &[("self.crt", "anything.crt")]);
    get(&server.host(), trusted.clone()).unwrap();
    let other = serve(directory, "server", false, fine);
    trust(directory, &other.host(), &[("self.crt", "anything.crt")]);
    assert!(matches!(get(&other.host(), trusted), Err(Error::Tls { .. })));
}

#[test]
fn client_certificates_are_shown_to_the_registry_only() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    make_certificates(directory);
    let storage = serve(directory, "server", true, fine);
    let elsewhere = storage.host();
    let server = serve(directory, "server", true, move |request| match request.path.as_str() {
        "/v2/a/b/manifests/latest" => fine(request),
        _ => Reply::new(307, &[("Location", &format!("https://{elsewhere}/"))], b""),
    });
    let host = server.host();
    let bare = trust(directory, &host, &[("ca.crt", "ca.crt")]);
    assert!(get(&host, bare).is_err());
    let complete = trust(directory, &host, &[("client.crt", "me.cert"), ("client.key", "me.key")]);
    get(&host, complete.clone()).unwrap();
    let registry = Registry::new(&host, complete).unwrap();
    assert!(registry.manifest("a/b", "elsewhere").is_err());
    assert!(storage.requests().is_empty());
}

#[test]
fn of_several_client_certificates_the_one_that_fits_is_shown() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    make_certificates(directory);
    let server = serve(directory, "server", true, fine);
    let host = server.host();
    // The server's authority vouches for the second only.
    let files = [
        ("ca.crt", "ca.crt"),
        ("self.crt", "a.cert"),
        ("self.key", "a.key"),
        ("client.crt", "b.cert"),
        ("client.key", "b.key"),
    ];
    get(&host, trust(directory, &host, &files)).unwrap();
    let open = serve(directory, "server", false, fine);
    get(&open.host(), trust(directory, &open.host(), &files)).unwrap();
    let other = serve(directory, "server", true, fine);
    assert!(get(&other.host(), trust(directory, &other.host(), &files[..3])).is_err());
}

#[test]
fn unusable_certificate_files_are_named() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    make_certificates(directory);
    let server = serve(directory, "server", false, fine);
    let host = server.host();
    let attempt = |files: &[(&str, &str)]| {
        let options = trust(directory, &host, files);
        let error = get(&host, options).unwrap_err();
        std::fs::remove_dir_all(directory.join("certs.d")).unwrap();
        let Error::Certificate { path, source } = error else { panic!("{error:?}") };
        (path.file_name().unwrap().to_string_lossy().into_owned(), source)
    };
    assert!(matches!(attempt(&[("names", "x.crt")]), (file, CertificateError::Empty) if file == "x.crt"));
    assert!(
        matches!(attempt(&[("client.crt", "x.cert")]), (file, CertificateError::Pair { missing }) if file == "x.cert" && missing == "x.key")
    );
    assert!(
        matches!(attempt(&[("client.key", "x.key")]), (_, CertificateError::Pair { missing }) if missing == "x.cert")
    );
    assert!(matches!(
        attempt(&[("client.crt", "x.cert"), ("server.key", "x.key")]),
        (_, CertificateError::Rejected(_))
    ));
    assert!(matches!(
        attempt(&[("client.crt", "x.cert"), ("names", "x.key")]),
        (_, CertificateError::Pem(_))
    ));
}

#[test]
fn nothing_leads_from_https_to_plain_http() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    make_certificates(directory);
    let plain = Server::start(fine);
    let elsewhere = plain.host();
    let server = serve(directory, "server", false, move |request| {
        if request.path.ends_with("/login") {
            let challenge = format!("Bearer realm=\"http://{elsewhere}/token\"");
            return Reply::new(401, &[("WWW-Authenticate", &challenge)], b"");
        }
        if request.path.ends_with("/moved") {
            // A token server that is this one, and sends to the other.
            let challenge = format!("Bearer realm=\"https://{}/token\"", request.header("host").unwrap());
            return Reply::new(401, &[("WWW-Authenticate", &challenge)], b"");
        }
        Reply::new(307, &[("Location", &format!("http://{elsewhere}/"))], b"")
    });
    let registry =
        Registry::new(&server.host(), trust(directory, &server.host(), &[("ca.crt", "ca.crt")])).unwrap();
    for (reference, expected) in
        [("latest", Problem::Downgrade), ("login", Problem::PlainRealm), ("moved", Problem::Downgrade)]
    {
        let error = registry.manifest("a/b", reference).unwrap_err();
        assert!(matches!(error, Error::Protocol { problem, .. } if problem == expected), "{error:?}");
    }
    assert!(plain.requests().is_empty());
}
