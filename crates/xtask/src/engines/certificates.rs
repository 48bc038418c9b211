//! An authority and one certificate for the engines, and such a pair for the mesh, by `openssl`.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, ensure};

use super::{machine::Block, plan::PASSWORD};

/// Where they are.
pub(crate) struct Certificates {
    /// The authority's certificate, which others trust. PEM.
    pub(crate) ca: PathBuf,
    /// What the authority signed. PEM.
    pub(crate) certificate: PathBuf,
    /// Its key. PEM.
    pub(crate) key: PathBuf,
    /// Both for Java. PKCS #12.
    pub(crate) store: PathBuf,
}

impl Certificates {
    /// Makes them in `folder` for the secured listeners of the engines.
    ///
    /// # Errors
    /// When `openssl` fails.
    pub(crate) fn for_engines(folder: &Path, block: Block) -> anyhow::Result<Self> {
        let addresses: String = (1..=4).map(|n| format!(",IP:{}", block.address(n))).collect();
        let names = format!("DNS:localhost,IP:127.0.0.1{addresses}");
        Self::make(folder, &names, "serverAuth")
    }

    /// Makes them in `folder` for every process of a mesh: a process may be edge and worker.
    ///
    /// # Errors
    /// When `openssl` fails.
    pub(crate) fn for_mesh(folder: &Path) -> anyhow::Result<Self> {
        let names = "DNS:edge.posthorn.internal,DNS:worker.posthorn.internal";
        Self::make(folder, names, "serverAuth,clientAuth")
    }

    fn make(folder: &Path, names: &str, uses: &str) -> anyhow::Result<Self> {
        fs::create_dir_all(folder).with_context(|| format!("make {}", folder.display()))?;
        fs::write(folder.join("extensions"), extensions(names, uses))?;
        let new_key = "req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";
        let steps = [
            format!(
                "{new_key} -x509 -days 30 -subj /CN=posthorn-engines-ca -keyout ca.key -out ca.pem \
                 -addext keyUsage=critical,keyCertSign,cRLSign"
            ),
            format!("{new_key} -subj /CN=posthorn-engines -keyout own.key -out own.csr"),
            "x509 -req -in own.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 30 \
             -extfile extensions -out own.pem"
                .to_owned(),
            format!(
                "pkcs12 -export -in own.pem -inkey own.key -certfile ca.pem -name own \
                 -passout pass:{PASSWORD} -out own.p12"
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
        Ok(Self {
            ca: folder.join("ca.pem"),
            certificate: folder.join("own.pem"),
            key: folder.join("own.key"),
            store: folder.join("own.p12"),
        })
    }
}

/// What `openssl` reads about a certificate to sign.
fn extensions(names: &str, uses: &str) -> String {
    format!(
        "basicConstraints=critical,CA:FALSE\n\
         keyUsage=critical,digitalSignature\n\
         extendedKeyUsage={uses}\n\
         subjectAltName={names}\n"
    )
}
