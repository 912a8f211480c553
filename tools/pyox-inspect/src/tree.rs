//! The resources by their paths, folder by folder.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::contents::{Contents, Kind, Resource};

/// A folder or a file.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Node {
    /// What it and everything below it takes, in bytes.
    pub size: u64,
    /// How many resources it and everything below it are.
    pub resources: usize,
    /// What it is; `None` for a folder.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<Kind>,
    /// What is in it, by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub children: BTreeMap<String, Node>,
}

impl Contents<'_> {
    /// The resources by their paths, folder by folder, down to `depth` levels. The root has the sums of all.
    #[must_use]
    pub fn tree(&self, depth: Option<usize>) -> Node {
        let mut root = Node::default();
        for resource in &self.resources {
            root.add(resource);
        }
        if let Some(depth) = depth {
            root.cut(depth);
        }
        root
    }
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
}
