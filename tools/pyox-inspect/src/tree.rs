//! `tree`: the resources by their paths, folder by folder.

use std::collections::BTreeMap;

use pyox_cli::Result;
use serde::Serialize;

use crate::contents::{Contents, Kind, Resource};
use crate::text::{self, Align, Table, shown};

/// A folder or a file.
#[derive(Debug, Default, Serialize)]
struct Node {
    /// What it and everything below it takes, in bytes.
    size: u64,
    /// How many resources it and everything below it are.
    resources: usize,
    /// What it is; none for a folder.
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<Kind>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    children: BTreeMap<String, Node>,
}

/// The answer of `tree`, down to `depth` levels.
pub(crate) fn answer(contents: &Contents<'_>, depth: Option<usize>, json: bool) -> Result<Vec<u8>> {
    let mut root = Node::default();
    for resource in &contents.resources {
        root.add(resource);
    }
    if json {
        root.cut(depth.unwrap_or(usize::MAX));
        return text::json(&root);
    }
    let mut table = Table::new(&[Align::Right, Align::Left]);
    root.show(contents.name, "", "", depth.unwrap_or(usize::MAX), &mut table);
    let mut out = String::new();
    table.write("", &mut out);
    Ok(out.into_bytes())
}

impl Node {
    fn add(&mut self, resource: &Resource) {
        let path = resource.path();
        let mut node = self;
        node.count(resource);
        for part in path.split('/').filter(|part| !part.is_empty()) {
            node = node.children.entry(part.to_owned()).or_default();
            node.count(resource);
        }
        if resource.kind != Kind::NamespacePackage {
            node.kind = Some(resource.kind);
        }
    }

    fn count(&mut self, resource: &Resource) {
        self.size += resource.room();
        self.resources += 1;
    }

    fn cut(&mut self, depth: usize) {
        match depth.checked_sub(1) {
            None => self.children.clear(),
            Some(depth) => self.children.values_mut().for_each(|child| child.cut(depth)),
        }
    }

    fn show(&self, name: &str, lead: &str, below: &str, depth: usize, table: &mut Table) {
        let mark = match self.kind {
            None if lead.is_empty() => String::new(),
            None => "/".to_owned(),
            Some(kind @ (Kind::BuiltIn | Kind::SystemLibrary)) => format!("  ({})", kind.name()),
            Some(_) => String::new(),
        };
        let line = format!("{lead}{}{mark}", shown(name));
        table.row([text::size(self.size).into(), line.into()]);
        let Some(depth) = depth.checked_sub(1) else { return };
        let last = self.children.len().saturating_sub(1);
        for (number, (name, child)) in self.children.iter().enumerate() {
            let (branch, rest) =
                if number == last { ("└── ", "    ") } else { ("├── ", "│   ") };
            let (lead, below) = (format!("{below}{branch}"), format!("{below}{rest}"));
            child.show(name, &lead, &below, depth, table);
        }
    }
}
