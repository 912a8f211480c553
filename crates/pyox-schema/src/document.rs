//! Reading and writing a document: one JSON object that names its kind and major version.

use std::fmt;

use serde::{Serialize, de::DeserializeOwned};

/// A document that stages exchange.
pub trait Document: Serialize + DeserializeOwned {
    /// Kind and major version, as `schema` holds them.
    const SCHEMA: &'static str;

    /// Reads a document.
    ///
    /// # Errors
    ///
    /// If the bytes are no JSON, or another document.
    fn from_json(bytes: &[u8]) -> Result<Self, Error> {
        // The kind is looked at first: another kind of document has other keys, and a message about
        // a missing key would send its reader the wrong way.
        #[derive(serde::Deserialize)]
        struct Head {
            schema: Option<String>,
        }
        let head: Head = serde_json::from_slice(bytes).map_err(|e| Error::json(bytes, e))?;
        match head.schema {
            Some(schema) if schema == Self::SCHEMA => {
                serde_json::from_slice(bytes).map_err(|e| Error::json(bytes, e))
            }
            found => Err(Error::Schema { expected: Self::SCHEMA, found }),
        }
    }

    /// Writes a document: indented, keys in the order of the specification, a final newline.
    fn to_json(&self) -> Vec<u8> {
        // The documents hold strings, numbers, lists and maps with string keys: none can fail.
        let mut json = serde_json::to_vec_pretty(self).unwrap_or_default();
        json.push(b'\n');
        json
    }
}

/// Why bytes are not the document that was asked for.
#[derive(Debug)]
pub enum Error {
    /// Nothing at all, as a stage that failed leaves it in a pipe.
    Empty,
    /// Not JSON, or JSON of another shape.
    Json(serde_json::Error),
    /// Another document, or another major version of it.
    Schema {
        /// What the reader wants.
        expected: &'static str,
        /// What `schema` says, where it says anything.
        found: Option<String>,
    },
}

impl Error {
    fn json(bytes: &[u8], error: serde_json::Error) -> Self {
        if bytes.iter().all(u8::is_ascii_whitespace) {
            return Self::Empty;
        }
        Self::Json(error)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => {
                f.write_str("expected a document, got nothing: did the stage before fail?")
            }
            Self::Json(error) => error.fmt(f),
            Self::Schema { expected, found: None } => {
                write!(f, "schema: expected `{expected}`, but the document names none")
            }
            Self::Schema { expected, found: Some(found) } => {
                write!(f, "schema: expected `{expected}`, got `{found}`")
            }
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Json(error) => Some(error),
            _ => None,
        }
    }
}
