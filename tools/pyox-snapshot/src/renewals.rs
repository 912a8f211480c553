//! Names in modules of known projects that keep something of the process, and how a process with an image computes them anew.
//!
//! Each is used by functions of its own module alone, by name, so that the new value is all there is. A module whose import
//! asks for more than what is named here is left out like any other, and so is one that has no such name any more.

/// A name that each process computes anew.
#[derive(Debug)]
pub(crate) struct Renewal {
    pub(crate) module: &'static str,
    pub(crate) name: &'static str,
    /// What the import of the module asks, in the words of a survey.
    pub(crate) asks: &'static str,
    /// Statements that set the name.
    pub(crate) code: &'static str,
}

pub(crate) const RENEWALS: [Renewal; 2] = [
    Renewal {
        module: "rich",
        name: "_IMPORT_CWD",
        asks: "asks for the working folder",
        code: "try:\n    _IMPORT_CWD = os.path.abspath(os.getcwd())\nexcept Exception:\n    _IMPORT_CWD = ''",
    },
    Renewal {
        module: "urllib3.util.connection",
        name: "HAS_IPV6",
        asks: "uses sockets",
        code: "HAS_IPV6 = _has_ipv6('::1')",
    },
];

impl Renewal {
    /// As a request has it.
    pub(crate) fn line(&self) -> String {
        let code = self.code.replace('\n', "\\n");
        format!("renew {} {} {code}", self.module, self.name)
    }
}
