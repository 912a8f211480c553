//! What of the standard library an image must not hold, and what it asks of a process.
//!
//! All of its modules were surveyed and imported beforehand, one by one, and their contents compared with those of a module that a
//! process imports itself, in another environment, folder and time zone, under another name of host and user. What such a
//! module keeps is either renewed (`pyembed/src/snapshot/modules.rs`), harmless, or named here.

/// The names, and what such a module knows of the process that has imported it.
pub(crate) const REFUSED: &[(&str, &str)] = &[
    ("antigravity", "it opens a browser"),
    ("multiprocessing.heap", "it keeps the number of the process"),
    ("readline", "it keeps what it knows of the terminal"),
    ("rlcompleter", "it keeps the module `__main__`"),
    ("sre_compile", "it warns of itself when it is imported"),
    ("sre_constants", "it warns of itself when it is imported"),
    ("sre_parse", "it warns of itself when it is imported"),
    ("this", "it writes to stdout"),
    ("wsgiref.handlers", "it keeps the environment"),
];

/// Variables that its modules read and that change nothing which is kept: `gettext` looks for translations below the
/// executable, `sysconfig` asks whether there is a home folder, and `_strptime` asks again at each use.
pub(crate) const HARMLESS: [&str; 8] =
    ["HOME", "LANG", "LANGUAGE", "LC_ALL", "LC_MESSAGES", "OPENSSL_CONF", "PYTHONUSERBASE", "TZ"];
