//! What is shown to the server, and whom we believe.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use etcd_client::{Certificate, Identity, TlsOptions};

use super::EtcdError;
use crate::config::{EtcdAccess, Pem};

/// Certificates or a key have no more.
const PEM_LIMIT: u64 = 1 << 20;

/// The server's name is held against its certificate; only the authorities that are named are believed. Files are read
/// anew each time: they may have been replaced.
pub(super) fn options(access: &EtcdAccess, endpoint: &str) -> Result<TlsOptions, EtcdError> {
    let EtcdAccess { endpoints: _, authorities, identity, login: _, prefix: _ } = access;
    let Some(authorities) = authorities else {
        return Err(EtcdError::NoAuthorities { endpoint: endpoint.to_owned() });
    };
    let authorities = read("the certificate of etcd's authority", authorities, "CERTIFICATE")?;
    let options = TlsOptions::new().ca_certificate(Certificate::from_pem(authorities));
    let Some(identity) = identity else { return Ok(options) };
    let crate::config::Identity { certificate, key } = identity;
    let certificate = read("the client's certificate", certificate, "CERTIFICATE")?;
    let key = read("the client's key", key, "PRIVATE KEY")?;
    Ok(options.identity(Identity::from_pem(certificate, key)))
}

/// A text with a block of that `kind`. Without one the library would say nothing, and believe nobody.
fn read(what: &'static str, pem: &Pem, kind: &'static str) -> Result<Vec<u8>, EtcdError> {
    let text = match pem {
        Pem::Text(secret) => secret.reveal().as_bytes().to_vec(),
        Pem::File(path) => {
            read_file(path).map_err(|error| EtcdError::File { what, path: path.clone(), error })?
        }
    };
    let path = match pem {
        Pem::Text(_) => None,
        Pem::File(path) => Some(path.clone()),
    };
    let begins =
        |line: &str| line.starts_with("-----BEGIN ") && line.trim_end().ends_with(&format!("{kind}-----"));
    let lossy = String::from_utf8_lossy(&text);
    match lossy.lines().find(|line| begins(line)) {
        None => Err(EtcdError::NotPem { what, path, kind, is_encrypted: false }),
        // Of PKCS #8, or of OpenSSL's own form.
        Some(line) if line.contains("ENCRYPTED") || lossy.contains("Proc-Type: 4,ENCRYPTED") => {
            Err(EtcdError::NotPem { what, path, kind, is_encrypted: true })
        }
        Some(_) => Ok(text),
    }
}

fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    let file = File::open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
    }
    let mut text = Vec::new();
    file.take(PEM_LIMIT + 1).read_to_end(&mut text)?;
    if text.len() as u64 > PEM_LIMIT {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("larger than {PEM_LIMIT} bytes")));
    }
    Ok(text)
}
