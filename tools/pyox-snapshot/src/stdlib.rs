//! Modules that an image must not hold, with the reason for each.

/// Why a module cannot be imported beforehand. `None` if it can be.
pub(crate) fn refusal(_name: &str) -> Option<&'static str> {
    None
}
