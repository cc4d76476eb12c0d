//! Certificates made by `openssl`, as an administrator would.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Who signs certificates.
pub struct Authority {
    /// With its own certificate and key, and those that it signed.
    directory: PathBuf,
}

/// A certificate and its key.
#[derive(Clone, Debug)]
pub struct Issued {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

/// A key that is quickly made.
const NEW_KEY: [&str; 4] = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"];

impl Authority {
    /// Keeps all that it makes in `directory`, which is new. All authorities have the same name, as one that was made
    /// anew has.
    pub fn new(directory: PathBuf) -> Self {
        fs::create_dir(&directory).unwrap();
        let authority = Self { directory };
        authority.openssl(
            &[
                &["req", "-x509", "-nodes", "-days", "2", "-subj", "/CN=authority"],
                &NEW_KEY[..],
                &["-keyout", "ca.key", "-out", "ca.pem"],
            ]
            .concat(),
        );
        authority
    }

    /// One that was made before.
    pub fn of(directory: PathBuf) -> Self {
        Self { directory }
    }

    pub fn certificate(&self) -> PathBuf {
        self.path("ca.pem")
    }

    /// For a server that is reached under `names`, such as `IP:127.0.0.1`. etcd uses it as a client, too.
    pub fn server(&self, file: &str, names: &str, days: &str) -> Issued {
        let extensions = format!("subjectAltName={names}\nextendedKeyUsage=serverAuth,clientAuth\n");
        self.issue(file, "etcd", &extensions, days)
    }

    pub fn client(&self, file: &str, user: &str) -> Issued {
        self.issue(file, user, "extendedKeyUsage=clientAuth\n", "2")
    }

    fn issue(&self, file: &str, subject: &str, extensions: &str, days: &str) -> Issued {
        let [key, request, wanted, signed] = ["key", "csr", "cnf", "pem"].map(|end| format!("{file}.{end}"));
        fs::write(self.path(&wanted), extensions).unwrap();
        let subject = format!("/CN={subject}");
        let asked = ["-nodes", "-subj", &subject, "-keyout", &key, "-out", &request];
        self.openssl(&[&["req"], &NEW_KEY[..], &asked].concat());
        let sign = ["x509", "-req", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", days];
        self.openssl(&[&sign[..], &["-in", &request, "-extfile", &wanted, "-out", &signed]].concat());
        Issued { certificate: self.path(&signed), key: self.path(&key) }
    }

    /// The same key, with a password.
    pub fn locked(&self, key: &Path, password: &str) -> PathBuf {
        let (locked, password) = (self.path("locked.key"), format!("pass:{password}"));
        let [from, to] = [key, &locked].map(|path| path.to_str().unwrap());
        self.openssl(&["pkcs8", "-topk8", "-in", from, "-out", to, "-passout", &password]);
        locked
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    fn openssl(&self, arguments: &[&str]) {
        openssl(&self.directory, arguments);
    }
}

/// Runs it in `directory`.
pub fn openssl(directory: &Path, arguments: &[&str]) {
    let run = Command::new("openssl").args(arguments).current_dir(directory).output();
    let run = run.expect("openssl is installed");
    assert!(run.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&run.stderr));
}
