//! Files from the network.
//!
//! A [`Client`] gets documents, which are small, and files, which are named by their SHA-256. What breaks is tried again with
//! growing pauses; a file goes on where it broke, in the next run too. A server that nobody can reach is not tried again, so
//! that whoever has another way takes it at once. Addresses may be `https:`, `http:` and `file:`; proxies come from
//! `HTTPS_PROXY` and its relatives, certificates from the system or from `SSL_CERT_FILE`.
//!
//! ```no_run
//! use pyox_download::{Client, Want};
//! # fn example(sha256: pyox_schema::Digest) -> pyox_stage::Result<()> {
//! let client = Client::new(false)?;
//! let want = Want { url: "https://example.org/a.tar.gz".to_owned(), sha256, size: None };
//! client.file(&want, "/tmp/a.tar.gz".as_ref(), &pyox_stage::Silent)?;
//! # Ok(())
//! # }
//! ```

#![deny(missing_docs)]

mod answer;
mod file;

use std::env;
use std::io::Read;
use std::sync::OnceLock;
use std::thread;
use std::time::Duration;

use pyox_stage::{Fault, FaultExt, Kind, Reporter, Result};
use reqwest::Url;
use reqwest::blocking::Response;
use reqwest::header::{HeaderValue, RANGE, USER_AGENT};
use reqwest::redirect::Policy;

use answer::Failure;
pub use file::Want;

/// The variable with the seconds that a server may be silent for.
const TIMEOUT: &str = "PYOX_HTTP_TIMEOUT";

/// How often something is tried that makes no progress.
const ATTEMPTS: u32 = 5;

/// The longest document.
const DOCUMENT: u64 = 64 << 20;

/// What gets things from the network.
pub struct Client {
    is_offline: bool,
    timeout: Duration,
}

/// The process's connections, made when they are first needed: that reads the system's certificates. They are never taken down,
/// because that would wait for the system's resolver, where it waits for a name server that does not answer.
static HTTP: OnceLock<reqwest::blocking::Client> = OnceLock::new();

impl Client {
    /// A client; one that is offline reads `file:` addresses alone.
    ///
    /// # Errors
    ///
    /// If `PYOX_HTTP_TIMEOUT` is no number of seconds.
    pub fn new(is_offline: bool) -> Result<Self> {
        let seconds = match env::var(TIMEOUT).ok().filter(|text| !text.is_empty()) {
            None => 30,
            Some(text) => text.parse().ok().filter(|seconds| *seconds > 0).ok_or_else(|| {
                Fault::new(TIMEOUT, format_args!("expected a number of seconds, got `{text}`"))
            })?,
        };
        Ok(Self { is_offline, timeout: Duration::from_secs(seconds) })
    }

    /// The document at an address.
    ///
    /// # Errors
    ///
    /// [`Kind::Missing`] if the server has none. Otherwise if the server cannot be reached, refuses, or has something else
    /// than text.
    pub fn document(&self, url: &str, reporter: &dyn Reporter) -> Result<String> {
        let url = parse(url)?;
        again(reporter, || {
            let mut text = String::new();
            let body: Box<dyn Read> = if let Some(path) = local(&url)? {
                Box::new(std::fs::File::open(&path).fault_at(&path)?)
            } else {
                Box::new(self.send(&url, 0)?)
            };
            body.take(DOCUMENT)
                .read_to_string(&mut text)
                .map_err(|error| Failure::broken(&url, &error, 0))?;
            if text.trim_start().starts_with('<') {
                return Err(answer::page(&url).into());
            }
            Ok(text)
        })
    }

    /// Asks for what is at an address, from an offset on.
    fn send(&self, url: &Url, offset: u64) -> Result<Response, Failure> {
        if self.is_offline {
            let what = "expected it in the cache, as nothing may be downloaded";
            return Err(Fault::new(shown(url), what).of_kind(Kind::Missing).into());
        }
        let mut request = self.http(url)?.get(url.clone());
        if offset > 0 {
            request = request.header(RANGE, format!("bytes={offset}-"));
        }
        let response = request.send().map_err(|error| Failure::unanswered(url, &error))?;
        answer::judged(url, response)
    }

    fn http(&self, url: &Url) -> Result<&'static reqwest::blocking::Client> {
        if let Some(http) = HTTP.get() {
            return Ok(http);
        }
        // An error says that a provider is set already, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let agent = HeaderValue::from_static(concat!("pyox/", env!("CARGO_PKG_VERSION")));
        let made = reqwest::blocking::Client::builder()
            // Short enough to notice quickly that nobody is there.
            .connect_timeout(self.timeout.min(Duration::from_secs(5)))
            // Of each read, not of the whole.
            .timeout(self.timeout)
            .redirect(Policy::custom(|attempt| {
                let was_secure =
                    attempt.previous().first().is_some_and(|url| url.scheme() == "https");
                if was_secure && attempt.url().scheme() != "https" {
                    return attempt.error("it leads from https to http");
                }
                Policy::default().redirect(attempt)
            }))
            .default_headers([(USER_AGENT, agent)].into_iter().collect())
            .build();
        let made = made.map_err(|error| {
            Fault::new(shown(url), answer::cause(&error))
                .hint("install the system's certificates (ca-certificates), or name a file of them in SSL_CERT_FILE")
                .caused_by(error)
        })?;
        Ok(HTTP.get_or_init(|| made))
    }
}

/// Tries until it succeeds, fails for good, or has failed too often without progress.
fn again<T>(reporter: &dyn Reporter, mut attempt: impl FnMut() -> Result<T, Failure>) -> Result<T> {
    /// What counts as progress.
    const PROGRESS: u64 = 64 << 10;
    let mut failed = 0;
    loop {
        let failure = match attempt() {
            Ok(value) => return Ok(value),
            Err(failure) => failure,
        };
        failed = if failure.progress >= PROGRESS { 1 } else { failed + 1 };
        let Some(pause) = failure.pause.filter(|_| failed < ATTEMPTS) else {
            return Err(failure.fault);
        };
        // Half a second, then twice as long each time, unless the server says how long.
        let pause = pause.max(Duration::from_millis(250 << failed));
        reporter.detail(format_args!("{}; trying again", failure.fault));
        thread::sleep(pause);
    }
}

fn parse(url: &str) -> Result<Url> {
    let parsed = Url::parse(url).map_err(|error| {
        Fault::new(url, format_args!("expected an address: {error}")).caused_by(error)
    })?;
    if matches!(parsed.scheme(), "https" | "http" | "file") {
        return Ok(parsed);
    }
    Err(Fault::new(url, "expected an address with https, http or file"))
}

/// The path that a `file:` address has.
fn local(url: &Url) -> Result<Option<std::path::PathBuf>> {
    if url.scheme() != "file" {
        return Ok(None);
    }
    match url.to_file_path() {
        Ok(path) => Ok(Some(path)),
        Err(()) => Err(Fault::new(url, "expected an absolute path behind file://")),
    }
}

/// An address as messages show it, without a password.
fn shown(url: &Url) -> String {
    let mut url = url.clone();
    if url.password().is_some() {
        let _ = url.set_password(Some("***"));
    }
    url.to_string()
}
