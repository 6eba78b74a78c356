//! A certificate authority of one stack's own, and the edge's certificate.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

use anyhow::Result;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose,
    SanType,
};

/// PEM files in one folder.
#[derive(Clone, Debug)]
pub struct Certificates {
    pub ca: PathBuf,
    pub certificate: PathBuf,
    pub private_key: PathBuf,
    /// The authority's certificate, for clients.
    pub ca_der: Vec<u8>,
}

impl Certificates {
    /// Makes an authority and a certificate for `localhost` and 127.0.0.1, and writes both to
    /// `folder`, which is made if it is missing.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn create(folder: &Path) -> Result<Self> {
        fs::create_dir_all(folder)?;
        let mut params = CertificateParams::new(Vec::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.distinguished_name.push(DnType::CommonName, "Lockgate test authority");
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;

        let mut params = CertificateParams::new(vec!["localhost".to_owned()])?;
        params.subject_alt_names.push(SanType::IpAddress(IpAddr::V4(Ipv4Addr::LOCALHOST)));
        let key = KeyPair::generate()?;
        let leaf = params.signed_by(&key, &authority)?;

        let files = Self {
            ca: folder.join("ca.pem"),
            certificate: folder.join("edge.pem"),
            private_key: folder.join("edge-key.pem"),
            ca_der: authority.der().to_vec(),
        };
        fs::write(&files.ca, authority.pem())?;
        fs::write(&files.certificate, leaf.pem())?;
        fs::write(&files.private_key, key.serialize_pem())?;
        Ok(files)
    }

    /// Makes another authority and certificate and moves them over these, the key first.
    ///
    /// # Errors
    /// A file cannot be written or moved.
    pub fn renew(&self) -> Result<Self> {
        let aside = tempfile::tempdir_in(
            self.certificate.parent().and_then(Path::parent).unwrap_or(Path::new("/tmp")),
        )?;
        let fresh = Self::create(aside.path())?;
        fs::rename(&fresh.ca, &self.ca)?;
        fs::rename(&fresh.private_key, &self.private_key)?;
        fs::rename(&fresh.certificate, &self.certificate)?;
        Ok(Self { ca_der: fresh.ca_der, ..self.clone() })
    }
}
