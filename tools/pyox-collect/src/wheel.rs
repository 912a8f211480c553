//! Installed wheels, read by what their `.dist-info` says.

/// An installed project.
#[derive(Debug)]
pub(crate) struct Installed {
    pub(crate) name: String,
    pub(crate) requested: bool,
    pub(crate) scripts: Vec<Script>,
}

/// A console script.
#[derive(Debug)]
pub(crate) struct Script {
    pub(crate) name: String,
    pub(crate) module: String,
    pub(crate) function: String,
    pub(crate) extra: bool,
}
