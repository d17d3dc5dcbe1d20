//! `media-server dev-certificate`: a certificate to try the encrypted ports with, and what to do with it.

use std::path::Path;
use std::process::ExitCode;

use time::OffsetDateTime;

use crate::web::self_signed;

/// Names that it always has.
const OWN: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// Makes one for this machine and further `names` in `folder`, and says how to use it.
pub fn dev_certificate(names: &[String], folder: &Path) -> ExitCode {
    let own = OWN.iter().map(|&name| name.to_owned()).filter(|name| !names.contains(name));
    let all: Vec<String> = own.chain(names.iter().cloned()).collect();
    let made = match self_signed::make(&all, folder, OffsetDateTime::now_utc()) {
        Ok(made) => made,
        Err(error) => {
            eprintln!("media-server: {error}");
            return ExitCode::FAILURE;
        }
    };
    let whole = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let (cert, key) = (whole(&made.cert_file), whole(&made.key_file));
    let quoted = |path: &Path| toml::Value::from(path.display().to_string());
    println!(
        "A certificate for {}, until {}. It is for trying things: nobody trusts it by itself.\n\n\
         [tls]\ncert_file = {}\nkey_file = {}\n\n\
         curl:     --cacert {}\n\
         Chromium: a page behind it is opened after a warning; for HTTP/3 start it with\n          \
         --ignore-certificate-errors-spki-list={} --origin-to-force-quic-on=localhost:8443",
        all.join(", "),
        made.until.date(),
        quoted(&cert),
        quoted(&key),
        cert.display(),
        made.public_key_hash,
    );
    ExitCode::SUCCESS
}
