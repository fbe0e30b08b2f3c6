//! How the way to a server is encrypted: what the `url` says of it, and what
//! the failures of it mean.
//!
//! The words are libpq's
//! (<https://www.postgresql.org/docs/current/libpq-ssl.html>). Trusted are the
//! authorities that browsers trust, built in, and those in `sslrootcert`; the
//! driver cannot be told to trust only the latter.

use std::path::Path;

use url::Url;

use crate::connector::Fault;

/// The parameters that name files, in every spelling the driver takes.
const FILES: [&str; 7] = ["sslrootcert", "ssl-root-cert", "ssl-ca", "sslcert", "ssl-cert", "sslkey", "ssl-key"];

/// The address with its files named from the folder it is written in. An
/// authority in `sslrootcert` is asked for by `sslmode=require` too, as by
/// libpq, and never passed over.
///
/// # Errors
/// Where a file cannot be read, or would not be looked at.
pub(super) fn settle(mut url: Url, folder: &Path) -> Result<Url, Fault> {
    let refuse = |message: String| Fault::user("connecting", "", message);
    let mut written: Vec<(String, String)> =
        url.query_pairs().map(|(name, value)| (name.into_owned(), value.into_owned())).collect();
    let mut checked = None;
    for (name, value) in &mut written {
        if !FILES.contains(&name.as_str()) || value.trim_start().starts_with("-----BEGIN") {
            continue;
        }
        if value == "system" {
            return Err(refuse(format!(
                "`{name}=system` is not known; leave it out for the public authorities, \
                 or name the file that holds those of the system, as in `/etc/ssl/certs/ca-certificates.crt`"
            )));
        }
        let file = folder.join(&*value);
        std::fs::File::open(&file)
            .map_err(|error| refuse(format!("`{name}`: `{}` cannot be read: {error}", file.display())))?;
        *value = file.to_string_lossy().into_owned();
        if FILES[..3].contains(&name.as_str()) {
            checked = Some(name.clone());
        }
    }
    if let Some(name) = checked {
        match written.iter_mut().rev().find(|(name, _)| matches!(name.as_str(), "sslmode" | "ssl-mode")) {
            Some((_, mode)) if mode == "require" => "verify-ca".clone_into(mode),
            Some((_, mode)) if mode.starts_with("verify-") => {}
            _ => {
                let message =
                    format!("`{name}` is looked at only with `sslmode=verify-full`, `verify-ca` or `require`");
                return Err(refuse(message));
            }
        }
    }
    if !written.is_empty() {
        url.query_pairs_mut().clear().extend_pairs(written);
    }
    Ok(url)
}

/// What a failure of TLS itself means; `None` where it is the network's.
pub(super) fn fault(doing: &str, error: &sqlx::Error) -> Option<Fault> {
    let why = match error {
        sqlx::Error::Tls(error) => error.to_string(),
        sqlx::Error::Io(error) => match error.get_ref()?.downcast_ref::<rustls::Error>()? {
            rustls::Error::InvalidCertificate(why) => {
                // Its type is of the verifier's crate, which we do not see.
                let help = if format!("{why:?}").contains("CaUsedAsEndEntity") {
                    "it is an authority's own; the server needs one that the authority has signed"
                } else {
                    "`sslrootcert=` in the `url` names the file with the certificate of its authority"
                };
                return Some(Fault::user(
                    doing,
                    "",
                    format!("the server's certificate is not accepted: {why}; {help}"),
                ));
            }
            // An alert says what the server has against us: that we show no certificate, or a wrong one.
            error @ (rustls::Error::AlertReceived(_) | rustls::Error::PeerIncompatible(_)) => error.to_string(),
            _ => return None,
        },
        _ => return None,
    };
    Some(Fault::user(doing, "", format!("no TLS with the server: {why}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settled(parameters: &str, folder: &Path) -> Result<String, String> {
        let url = Url::parse(&format!("postgres://u:p%40@db/x?{parameters}")).unwrap();
        let settled = settle(url, folder).map_err(|fault| fault.message)?;
        assert!(settled.as_str().starts_with("postgres://u:p%40@db/x"), "{settled}");
        let pairs: Vec<_> = settled.query_pairs().map(|(name, value)| format!("{name}={value}")).collect();
        Ok(pairs.join(" "))
    }

    #[test]
    fn an_authority_is_asked_for_or_refused() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a b.pem"), "").unwrap();
        let file = folder.path().join("a b.pem");
        let file = file.display();
        let one = |parameters: &str| settled(parameters, folder.path());
        assert_eq!(one("sslmode=require"), Ok("sslmode=require".into()));
        assert_eq!(one("sslmode=require&sslrootcert=a%20b.pem"), Ok(format!("sslmode=verify-ca sslrootcert={file}")));
        assert_eq!(
            one("sslrootcert=a%20b.pem&sslmode=verify-full"),
            Ok(format!("sslrootcert={file} sslmode=verify-full"))
        );
        for (parameters, says) in [
            ("sslrootcert=a%20b.pem", "`sslrootcert` is looked at only with `sslmode=verify-full`"),
            ("sslmode=disable&sslrootcert=a%20b.pem", "`sslrootcert` is looked at only with"),
            ("sslmode=verify-full&sslrootcert=none.pem", "none.pem` cannot be read"),
            ("sslmode=verify-full&sslrootcert=system", "`sslrootcert=system` is not known"),
        ] {
            let refused = one(parameters).unwrap_err();
            assert!(refused.contains(says), "{parameters}: {refused}");
        }
    }
}
