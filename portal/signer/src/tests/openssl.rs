//! The `openssl` program as a second opinion, and as a maker of requests that our own libraries refuse to make.

use std::path::PathBuf;
use std::process::Command;

/// A folder in which `openssl` works.
pub struct OpenSsl {
    folder: tempfile::TempDir,
}

impl OpenSsl {
    pub fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Runs `openssl` and gives its output; panics with what it said when it fails.
    pub fn run(&self, arguments: &[&str]) -> String {
        let (works, text) = self.attempt(arguments);
        assert!(works, "openssl {arguments:?}: {text}");
        text
    }

    /// Runs `openssl`, which may fail.
    pub fn attempt(&self, arguments: &[&str]) -> (bool, String) {
        let output =
            Command::new("openssl").args(arguments).current_dir(self.folder.path()).output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&text).into_owned())
    }

    /// A new key (`genpkey` options) and a request made with it (`req` options), DER.
    pub fn request(&self, key: &[&str], options: &[&str]) -> Vec<u8> {
        self.run(&[&["genpkey", "-out", "key.pem"], key].concat());
        let base = [
            "req",
            "-new",
            "-key",
            "key.pem",
            "-outform",
            "DER",
            "-out",
            "csr.der",
            "-subj",
            "/CN=somebody else",
        ];
        self.run(&[&base, options].concat());
        std::fs::read(self.path("csr.der")).unwrap()
    }

    /// Writes a certificate as PEM.
    pub fn write_certificate(&self, name: &str, der: &[u8]) {
        std::fs::write(self.path("in.der"), der).unwrap();
        self.run(&["x509", "-inform", "DER", "-in", "in.der", "-out", name]);
    }
}

/// `genpkey` options of the accepted key types and of others.
pub const P256: [&str; 4] = ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"];
pub const ED25519: [&str; 2] = ["-algorithm", "ED25519"];
