//! One authority and one certificate for every secured listener, made with `openssl`.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, ensure};

use super::{machine::Block, plan::PASSWORD};

/// Where they are.
pub(crate) struct Certificates {
    /// The authority's certificate, which clients trust. PEM.
    pub(crate) ca: PathBuf,
    /// The servers' certificate. PEM.
    pub(crate) certificate: PathBuf,
    /// Its key. PEM.
    pub(crate) key: PathBuf,
    /// Both for Java. PKCS #12.
    pub(crate) store: PathBuf,
}

impl Certificates {
    /// Makes them in `folder`, for the first addresses of the block, 127.0.0.1 and localhost.
    ///
    /// # Errors
    /// When `openssl` fails.
    pub(crate) fn make(folder: &Path, block: Block) -> anyhow::Result<Self> {
        fs::create_dir_all(folder).with_context(|| format!("make {}", folder.display()))?;
        fs::write(folder.join("server.ext"), extensions(block))?;
        let new_key = "req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";
        let steps = [
            format!(
                "{new_key} -x509 -days 30 -subj /CN=posthorn-engines-ca -keyout ca.key -out ca.pem \
                 -addext basicConstraints=critical,CA:TRUE \
                 -addext keyUsage=critical,keyCertSign,cRLSign"
            ),
            format!("{new_key} -subj /CN=posthorn-engines -keyout server.key -out server.csr"),
            "x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 30 \
             -extfile server.ext -out server.pem"
                .to_owned(),
            format!(
                "pkcs12 -export -in server.pem -inkey server.key -certfile ca.pem -name server \
                 -passout pass:{PASSWORD} -out server.p12"
            ),
        ];
        for step in steps {
            let output = Command::new("openssl")
                .args(step.split_whitespace())
                .current_dir(folder)
                .output()
                .context("openssl did not start")?;
            let said = String::from_utf8_lossy(&output.stderr);
            ensure!(output.status.success(), "openssl {step}:\n{said}");
        }
        Ok(Self::in_folder(folder))
    }

    fn in_folder(folder: &Path) -> Self {
        Self {
            ca: folder.join("ca.pem"),
            certificate: folder.join("server.pem"),
            key: folder.join("server.key"),
            store: folder.join("server.p12"),
        }
    }
}

fn extensions(block: Block) -> String {
    let addresses: String = (1..=4).map(|n| format!(",IP:{}", block.address(n))).collect();
    format!(
        "basicConstraints=critical,CA:FALSE\n\
         keyUsage=critical,digitalSignature\n\
         extendedKeyUsage=serverAuth\n\
         subjectAltName=DNS:localhost,IP:127.0.0.1{addresses}\n"
    )
}
