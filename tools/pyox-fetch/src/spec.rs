//! The grammar of a SPEC: the words by which a user names a distribution.

use std::fmt;
use std::path::PathBuf;

use pyox_distribution::Flavor;
use pyox_stage::Fault;

use crate::release::is_release;

/// The grammar in one line, for messages.
pub(crate) const GRAMMAR: &str = "host, host@3.X, host:PYTHON, uv, uv@3.X, source@3.X, source:TARBALL, cpython@3.X, or the \
     address or path of an archive, or its unpacked folder";

/// Where a distribution comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Spec {
    /// The first installed Python that can be embedded, of that version where one is named.
    Host(Option<String>),
    /// The installed Python with that path.
    HostPath(PathBuf),
    /// The first of those that uv has installed, of that version where one is named.
    Uv(Option<String>),
    /// Built from CPython's release tarball of that version: plainly, or in one of the ways that are there for tests of pyox itself.
    SourceVersion(String, Flavor),
    /// Built from a release tarball on this machine.
    SourceTarball(PathBuf),
    /// A version of python-build-standalone, over the network, and the date of its release where one is named.
    Release(String, Option<String>),
    /// The address of an archive in python-build-standalone's full format.
    Address(String),
    /// Such an archive, or its unpacked folder.
    Path(PathBuf),
}

impl Spec {
    /// Reads a SPEC.
    ///
    /// A path must have a `/` or exist, so that a misspelt word is not taken for a file's name.
    ///
    /// # Errors
    ///
    /// For text that is none; the hint has the grammar.
    pub fn parse(text: &str) -> Result<Self, Fault> {
        let unknown = || {
            Fault::new(text, "expected a SPEC that is known, or a file or folder that is there")
                .hint(format_args!("a SPEC is {GRAMMAR}"))
        };
        let missing = |what: &str| Fault::new(text, format_args!("expected {what}, got nothing"));
        if let Some(path) = text.strip_prefix("host:") {
            return match path {
                "" => Err(missing("the path of a Python after `host:`")),
                path => Ok(Self::HostPath(path.into())),
            };
        }
        if let Some(path) = text.strip_prefix("source:") {
            return match path {
                "" => Err(missing("the path of a tarball after `source:`")),
                path => Ok(Self::SourceTarball(path.into())),
            };
        }
        if let Some(version) = text.strip_prefix("host@") {
            return Ok(Self::Host(Some(self::version(text, version)?)));
        }
        if let Some(version) = text.strip_prefix("uv@") {
            return Ok(Self::Uv(Some(self::version(text, version)?)));
        }
        if let Some(version) = text.strip_prefix("source@") {
            let (version, flavor) = match version.split_once('+') {
                None => (version, Flavor::Plain),
                Some((version, "debug")) => (version, Flavor::Debug),
                Some((version, "lto")) => (version, Flavor::Lto),
                Some((_, flavor)) => {
                    let what =
                        format_args!("expected `debug` or `lto` after the `+`, got `{flavor}`");
                    return Err(Fault::new(text, what));
                }
            };
            return Ok(Self::SourceVersion(self::version(text, version)?, flavor));
        }
        if let Some(rest) = text.strip_prefix("cpython@") {
            let (version, release) = match rest.split_once('+') {
                Some((version, release)) => (version, Some(release.to_owned())),
                None => (rest, None),
            };
            if let Some(release) = release.as_ref().filter(|release| !is_release(release)) {
                let what = format_args!(
                    "expected the date of a release such as 20260814, got `{release}`"
                );
                return Err(Fault::new(text, what));
            }
            return Ok(Self::Release(self::version(text, version)?, release));
        }
        match text {
            "host" => Ok(Self::Host(None)),
            "uv" => Ok(Self::Uv(None)),
            "source" | "cpython" => Err(Fault::new(text, "expected a version, got none")
                .hint(format_args!("for example {text}@3.13"))),
            "" => Err(unknown()),
            url if url.starts_with("https://") || url.starts_with("http://") => {
                Ok(Self::Address(url.to_owned()))
            }
            path if path.contains('/') || PathBuf::from(path).exists() => {
                Ok(Self::Path(path.into()))
            }
            _ => Err(unknown()),
        }
    }
}

/// `3.13` or `3.13.5`.
fn version(spec: &str, version: &str) -> Result<String, Fault> {
    let mut parts = version.split('.');
    let number = |part: &str| {
        !part.is_empty() && part.len() <= 3 && part.bytes().all(|byte| byte.is_ascii_digit())
    };
    let good = parts.next() == Some("3")
        && parts.next().is_some_and(number)
        && parts.next().is_none_or(number)
        && parts.next().is_none();
    if good {
        return Ok(version.to_owned());
    }
    let what =
        format_args!("expected a version such as 3.13 or 3.13.5, got `{version}`").to_string();
    Err(Fault::new(spec, what))
}

impl fmt::Display for Spec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host(None) => f.write_str("host"),
            Self::Host(Some(version)) => write!(f, "host@{version}"),
            Self::HostPath(path) => write!(f, "host:{}", path.display()),
            Self::Uv(None) => f.write_str("uv"),
            Self::Uv(Some(version)) => write!(f, "uv@{version}"),
            Self::SourceVersion(version, flavor) => {
                let flavor = match flavor {
                    Flavor::Debug => "+debug",
                    Flavor::Lto => "+lto",
                    // By an option.
                    Flavor::Plain | Flavor::Optimized => "",
                };
                write!(f, "source@{version}{flavor}")
            }
            Self::SourceTarball(path) => write!(f, "source:{}", path.display()),
            Self::Release(version, None) => write!(f, "cpython@{version}"),
            Self::Release(version, Some(release)) => write!(f, "cpython@{version}+{release}"),
            Self::Address(url) => f.write_str(url),
            Self::Path(path) => write!(f, "{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_is_read_and_shown_as_it_was_written() {
        for (text, spec) in [
            ("host", Spec::Host(None)),
            ("host@3.13", Spec::Host(Some("3.13".into()))),
            ("host:/usr/bin/python3", Spec::HostPath("/usr/bin/python3".into())),
            ("uv", Spec::Uv(None)),
            ("uv@3.13.5", Spec::Uv(Some("3.13.5".into()))),
            ("source@3.13", Spec::SourceVersion("3.13".into(), Flavor::Plain)),
            ("source@3.13.5", Spec::SourceVersion("3.13.5".into(), Flavor::Plain)),
            ("source@3.13+debug", Spec::SourceVersion("3.13".into(), Flavor::Debug)),
            ("source@3.13+lto", Spec::SourceVersion("3.13".into(), Flavor::Lto)),
            ("source:Python.tgz", Spec::SourceTarball("Python.tgz".into())),
            ("cpython@3.13", Spec::Release("3.13".into(), None)),
            ("cpython@3.13.5+20260814", Spec::Release("3.13.5".into(), Some("20260814".into()))),
            ("https://a/b.tar.zst", Spec::Address("https://a/b.tar.zst".into())),
            ("./python.tar.zst", Spec::Path("./python.tar.zst".into())),
        ] {
            assert_eq!(Spec::parse(text).unwrap(), spec, "{text}");
            assert_eq!(spec.to_string(), text);
        }
    }

    #[test]
    fn what_is_no_spec_is_refused_with_the_grammar_or_an_example() {
        for text in ["hots", "", "pypy@7"] {
            let fault = Spec::parse(text).unwrap_err();
            assert!(fault.way_out().unwrap().contains("source@3.X"), "{text}");
        }
        for text in [
            "host@",
            "uv@three",
            "source@",
            "source@3",
            "source@2.7",
            "source@3.x",
            "cpython@3.13.1.1",
        ] {
            let fault = Spec::parse(text).unwrap_err();
            assert!(fault.to_string().contains("expected a version such as"), "{text}: {fault}");
        }
        let fault = Spec::parse("cpython@3.13+latest").unwrap_err();
        assert!(fault.to_string().contains("expected the date of a release"), "{fault}");
        let fault = Spec::parse("source@3.13+fast").unwrap_err();
        assert!(fault.to_string().contains("expected `debug` or `lto`"), "{fault}");
        assert_eq!(Spec::parse("source").unwrap_err().way_out(), Some("for example source@3.13"));
        assert!(Spec::parse("host:").is_err());
        assert!(Spec::parse("source:").is_err());
    }
}
