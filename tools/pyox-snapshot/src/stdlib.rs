//! Modules of the standard library that an image must not hold, with the reason for each.
//!
//! All others were imported beforehand, one by one, and their contents compared with those of a module that a process imports
//! itself, in another environment, folder and time zone, under another name of host and user.

/// The names, and what such a module knows of the process that has imported it.
pub(crate) const REFUSED: &[(&str, &str)] = &[
    ("_strptime", "it keeps the names of the locale's and the time zone's days and months"),
    ("ctypes", "it keeps code that was made in memory"),
    ("multiprocessing", "it keeps a random key"),
    ("readline", "it keeps what it knows of the terminal"),
    ("sre_compile", "it warns of itself when it is imported"),
    ("sre_constants", "it warns of itself when it is imported"),
    ("sre_parse", "it warns of itself when it is imported"),
    ("sysconfig", "it keeps the folder of the executable and the user's"),
    ("wsgiref.handlers", "it keeps the environment"),
];
