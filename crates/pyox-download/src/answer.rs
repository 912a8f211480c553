//! What a server answers, and whether it is worth another try.

use std::error::Error;
use std::io;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use pyox_stage::{Fault, Kind};
use reqwest::blocking::Response;
use reqwest::header::{HeaderMap, RETRY_AFTER};
use reqwest::{StatusCode, Url};

use crate::shown;

/// The longest pause that a server may ask for.
const PATIENCE: Duration = Duration::from_secs(60);

/// Why an attempt failed.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) fault: Fault,
    /// How long to wait at least before the next attempt; none where that would fail too.
    pub(crate) pause: Option<Duration>,
    /// Bytes that it has got nevertheless.
    pub(crate) progress: u64,
}

impl From<Fault> for Failure {
    /// One for good.
    fn from(fault: Fault) -> Self {
        Self { fault, pause: None, progress: 0 }
    }
}

impl Failure {
    /// One that another attempt may not have.
    fn passing(fault: Fault, pause: Duration) -> Self {
        Self { fault, pause: Some(pause), progress: 0 }
    }

    /// The server did not answer.
    pub(crate) fn unanswered(url: &Url, error: &reqwest::Error) -> Self {
        let cause = cause(error);
        let kind = Kind::Io(if error.is_timeout() {
            io::ErrorKind::TimedOut
        } else {
            io::ErrorKind::Other
        });
        let fault =
            Fault::new(shown(url), format_args!("cannot be reached: {cause}")).of_kind(kind);
        if cause.contains("certificate") {
            let hint = "name a file with the authority of your network or mirror in SSL_CERT_FILE";
            return fault.hint(hint).into();
        }
        // Nobody is there: that does not pass within seconds.
        if error.is_connect() || error.is_redirect() || error.is_builder() {
            return fault.into();
        }
        Self::passing(fault, Duration::ZERO)
    }

    /// The transfer broke off after some bytes.
    pub(crate) fn broken(url: &Url, error: &io::Error, progress: u64) -> Self {
        let fault = Fault::new(shown(url), format_args!("the transfer broke: {}", cause(error)));
        let fault = fault.of_kind(Kind::Io(error.kind()));
        if error.kind() == io::ErrorKind::InvalidData {
            return Fault::new(shown(url), "expected text, got something else").into();
        }
        Self { progress, ..Self::passing(fault, Duration::ZERO) }
    }
}

/// An answer, if it is a good one.
pub(crate) fn judged(url: &Url, response: Response) -> Result<Response, Failure> {
    let status = response.status();
    if status.is_success() || status == StatusCode::RANGE_NOT_SATISFIABLE {
        return Ok(response);
    }
    let fault = Fault::new(shown(url), format_args!("the server answers {status}"));
    let headers = response.headers();
    if status == StatusCode::NOT_FOUND || status == StatusCode::GONE {
        return Err(fault.of_kind(Kind::Missing).into());
    }
    let fault = fault.of_kind(Kind::Io(io::ErrorKind::Other));
    if status == StatusCode::TOO_MANY_REQUESTS
        || (status == StatusCode::FORBIDDEN && is_limit(headers))
    {
        let wait = wait(headers).unwrap_or_default();
        if wait <= PATIENCE {
            return Err(Failure::passing(fault, wait));
        }
        let minutes = wait.as_secs().div_ceil(60);
        let what = format!(
            "it limits how often one may ask, and answers {status} for {minutes} more minutes"
        );
        return Err(Fault::new(shown(url), what).of_kind(Kind::Io(io::ErrorKind::Other)).into());
    }
    if status.is_server_error() || status == StatusCode::REQUEST_TIMEOUT {
        let wait = wait(headers).unwrap_or_default();
        return Err(if wait <= PATIENCE { Failure::passing(fault, wait) } else { fault.into() });
    }
    Err(fault.into())
}

/// GitHub says with 403 that one has asked too often.
fn is_limit(headers: &HeaderMap) -> bool {
    headers.contains_key(RETRY_AFTER) || header(headers, "x-ratelimit-remaining") == Some("0")
}

/// How long a server asks to wait.
fn wait(headers: &HeaderMap) -> Option<Duration> {
    let number = |name| header(headers, name)?.trim().parse().ok();
    if let Some(seconds) = number(RETRY_AFTER.as_str()) {
        return Some(Duration::from_secs(seconds));
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
    Some(Duration::from_secs(number("x-ratelimit-reset")?).saturating_sub(now))
}

pub(crate) fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// A web page came in place of what was asked for.
pub(crate) fn page(url: &Url) -> Fault {
    Fault::new(shown(url), "expected a file, got a web page")
        .hint("does this network ask for a login? open a page in a browser, or name a mirror")
}

/// The innermost error: those around it repeat the address.
pub(crate) fn cause(error: &(dyn Error + 'static)) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    let text = cause.to_string();
    text.split(" (os error ").next().unwrap_or_default().to_owned()
}
