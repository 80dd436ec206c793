//! TLS: who is vouched for, and by whom.

use super::*;

#[tokio::test]
async fn a_certificate_that_nobody_vouches_for_is_refused() {
    let server = tls();
    let url = format!("https://{server}/?key=canary");
    let told = fetched(&open(), &url, Redirects::None).await;
    assert!(
        matches!(&told, Err(NetError::Tls { host, .. }) if *host == server.to_string()),
        "{told:?}"
    );
}

#[tokio::test]
async fn a_host_without_authorities_says_so() {
    let mut net = open();
    net.client = client(&net.resolver, LONG, LONG)
        .tls_backend_preconfigured(roots::none())
        .build()
        .unwrap();
    let (plain, secure) = (server().await, tls());
    let told = fetched(&net, &format!("https://{secure}/"), Redirects::None).await;
    assert_eq!(
        told.unwrap_err().to_string(),
        format!(
            "no secure connection to {secure} (this host has no certificates of authorities to check it by; its operator \
             installs ca-certificates)"
        )
    );
    let url = format!("http://{plain}/echo");
    assert!(fetched(&net, &url, Redirects::None).await.is_ok());
}

/// A listener with a certificate that it made itself. The key guards nothing.
fn tls() -> SocketAddr {
    use base64::Engine as _;
    use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
    const KEY: &str = "MC4CAQAwBQYDK2VwBCIEIP3hKMgWuEqL3T47h7mXH5T3+2GK05zadRi8wsPaT/MY";
    const CERTIFICATE: &str = "MIIBUDCCAQKgAwIBAgIUA6tYpapgfUDY+RAdYvhBrCc8viQwBQYDK2VwMBQxEjAQBgNVBAMMCWxvY2FsaG9zdDAgFw\
        0yNjExMjExMzUxNTdaGA8yMTI2MTAyODEzNTE1N1owFDESMBAGA1UEAwwJbG9jYWxob3N0MCowBQYDK2VwAyEASYwM\
        j9td8PUYpCJQjqz5KJh23k8xU4K87Wo3q6n5GTSjZDBiMB0GA1UdDgQWBBRO18YadrjWlh9+CYGj+6Xpi1aM5jAfBg\
        NVHSMEGDAWgBRO18YadrjWlh9+CYGj+6Xpi1aM5jAPBgNVHRMBAf8EBTADAQH/MA8GA1UdEQQIMAaHBH8AAAEwBQYD\
        K2VwA0EAjBuPVxbrxNDgyuMlR9xT9CJGDnkP0NV65eq/9ApwOHMUPFg4A5s+E+0yRMQbdO7MdiEw9GosA/UsGsc7VD\
        oXBA==";
    let der = |text: &str| {
        base64::engine::general_purpose::STANDARD
            .decode(text)
            .unwrap()
    };
    let _ = rustls::crypto::ring::default_provider().install_default();
    let config = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(
            vec![CertificateDer::from(der(CERTIFICATE))],
            PrivatePkcs8KeyDer::from(der(KEY)).into(),
        )
        .unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let session = rustls::ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut stream = rustls::StreamOwned::new(session, stream);
            let _ = stream.read(&mut [0; 4096]);
        }
    });
    address
}
