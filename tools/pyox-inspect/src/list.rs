//! `list` and `size`: the resources one by one, and added up.

use std::collections::BTreeMap;

use pyox_cli::Result;
use serde::Serialize;

use crate::By;
use crate::contents::{Contents, Resource};
use crate::text::{self, Align, Table, shown};

/// Resources that belong together, added up.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Sum {
    /// The project, kind or package.
    pub(crate) name: String,
    /// How many resources it has.
    pub(crate) resources: usize,
    /// What they take where they lie, in bytes.
    pub(crate) size: u64,
    /// How much of that is bytecode.
    pub(crate) code: u64,
    /// Length of their files, in bytes, before any compression.
    pub(crate) files: u64,
}

/// The answer of `list`.
pub(crate) fn answer(contents: &Contents<'_>, json: bool) -> Result<Vec<u8>> {
    if json {
        return text::json(&contents.resources);
    }
    let mut table = Table::new(&[Align::Left, Align::Right, Align::Left, Align::Left]);
    for resource in &contents.resources {
        table.row([
            resource.kind.name().into(),
            resource.room().to_string().into(),
            shown(&resource.project),
            shown(&resource.name),
        ]);
    }
    let mut out = String::new();
    table.write("", &mut out);
    Ok(out.into_bytes())
}

/// The answer of `size`.
pub(crate) fn sizes(contents: &Contents<'_>, by: By, bytes: bool, json: bool) -> Result<Vec<u8>> {
    let sums = sums(contents, by);
    if json {
        return text::json(&sums);
    }
    let show = |size: u64| if bytes { size.to_string() } else { text::size(size) };
    let total = |of: fn(&Sum) -> u64| sums.iter().map(of).sum::<u64>();
    let all = Sum {
        name: "total".to_owned(),
        resources: contents.resources.len(),
        size: total(|sum| sum.size),
        code: total(|sum| sum.code),
        files: total(|sum| sum.files),
    };
    let mut table =
        Table::new(&[Align::Right, Align::Right, Align::Right, Align::Right, Align::Left]);
    let heading = match by {
        By::Project => "PROJECT",
        By::Kind => "KIND",
        By::Package => "PACKAGE",
    };
    table.row(["SIZE".into(), "CODE".into(), "FILES".into(), "COUNT".into(), heading.into()]);
    for sum in sums.iter().chain([&all]) {
        table.row([
            show(sum.size).into(),
            show(sum.code).into(),
            show(sum.files).into(),
            sum.resources.to_string().into(),
            shown(&sum.name),
        ]);
    }
    let mut out = String::new();
    table.write("", &mut out);
    Ok(out.into_bytes())
}

/// The resources added up, largest first.
pub(crate) fn sums(contents: &Contents<'_>, by: By) -> Vec<Sum> {
    let key = |resource: &Resource| match by {
        By::Project => resource.project.clone(),
        By::Kind => resource.kind.name().to_owned(),
        By::Package => resource.package().to_owned(),
    };
    let mut sums: BTreeMap<String, Sum> = BTreeMap::new();
    for resource in &contents.resources {
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
