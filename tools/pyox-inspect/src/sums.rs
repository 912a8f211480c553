//! Resources added up.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::contents::{Contents, Resource};

/// What resources are added up by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// The project that they belong to.
    Project,
    /// Their kind.
    Kind,
    /// The top-level import package, or the top-level folder.
    Package,
}

/// Resources that belong together, added up.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Sum {
    /// The project, kind or package.
    pub name: String,
    /// How many resources it has.
    pub resources: usize,
    /// What they take where they lie, in bytes.
    pub size: u64,
    /// How much of that is bytecode.
    pub code: u64,
    /// Length of their files, in bytes, before any compression.
    pub files: u64,
}

impl Contents<'_> {
    /// The resources added up, the largest sum first.
    #[must_use]
    pub fn sums(&self, by: By) -> Vec<Sum> {
        let key = |resource: &Resource| match by {
            By::Project => resource.project.clone(),
            By::Kind => resource.kind.name().to_owned(),
            By::Package => resource.package().to_owned(),
        };
        let mut sums: BTreeMap<String, Sum> = BTreeMap::new();
        for resource in &self.resources {
            let name = key(resource);
            let sum = sums.entry(name.clone()).or_insert_with(|| Sum { name, ..Sum::default() });
            sum.resources += 1;
            sum.size += resource.room();
            sum.code += resource.code.unwrap_or(0);
            sum.files += resource.size.unwrap_or(0);
        }
        let mut sums: Vec<_> = sums.into_values().collect();
        sums.sort_by(|a, b| b.size.cmp(&a.size).then_with(|| a.name.cmp(&b.name)));
        sums
    }
}
