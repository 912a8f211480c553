//! Where each resource lies in the application's tree.
//!
//! The searches know paths below one entry of `sys.path`, and what hides what goes by these. Here they become paths in
//! the one tree, which is that of an installation.

use pyox_blob::tree::Tree;
use pyox_schema::Distribution;

use crate::candidate::{Found, Layer};

/// Gives all resources their places.
pub(crate) fn apply(found: &mut Found, distribution: &Distribution) {
    let tree = Tree::of(distribution.python.version_info);
    for candidate in &mut found.candidates {
        let folder = match candidate.layer {
            // Not in `sys.path`: places as they are.
            Layer::Builtin | Layer::Installation => continue,
            Layer::Application(_) => &tree.application,
            Layer::Stdlib => &tree.stdlib,
            Layer::Projects => &tree.projects,
        };
        let is_importable = candidate.is_importable();
        let resource = &mut candidate.resource;
        if let Some(location) = &mut resource.location {
            *location = format!("{folder}/{location}");
            if !is_importable {
                resource.name.clone_from(location);
            }
        }
    }
}
