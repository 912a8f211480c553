//! What the searches hand over: resources whose bytes nobody has read yet.
//!
//! The exclusions and the order of `sys.path` decide later whether a candidate becomes a resource of the manifest.
//! Reading those that are left out would be wasted.

use std::path::PathBuf;
use std::sync::Arc;

use pyox_schema::name::is_identifier;
use pyox_schema::{Digest, Excluded, Origin, Project, Resource, ResourceKind};

/// A resource without its payload.
#[derive(Debug, Clone)]
pub(crate) struct Candidate {
    /// The resource, as the manifest will have it.
    pub(crate) resource: Resource,
    /// The file with its bytes; none for what has no payload.
    pub(crate) path: Option<PathBuf>,
    /// The entry of `sys.path` that it stands for.
    pub(crate) layer: Layer,
    /// What another document says of its bytes.
    pub(crate) expected: Option<Arc<Expected>>,
}

/// The places where an `import` looks, in their order: what comes first wins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Layer {
    /// libpython itself, whose importer stands before that of `sys.path`.
    Builtin,
    /// What the user named, by its place on the command line. They count as one entry: two of them
    /// with one name are an error.
    Application(usize),
    /// The standard library and its `lib-dynload`.
    Stdlib,
    /// `site-packages`.
    Projects,
    /// What lies beside all of them: `bin/`, `share/` and the like. Nothing in it is imported.
    Installation,
}

/// What another document says of a file's bytes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Expected {
    /// The digests that it may have.
    pub(crate) sha256: Vec<Digest>,
    /// Who says so, for the message.
    pub(crate) witness: String,
}

/// Whose a resource is, and why it is taken.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Owner {
    /// The project's normalised name.
    pub(crate) project: String,
    /// Where it comes from.
    pub(crate) origin: Origin,
    /// Why it is taken, for people.
    pub(crate) reason: String,
}

/// What a search found.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// What could be taken.
    pub(crate) candidates: Vec<Candidate>,
    /// What is not.
    pub(crate) excluded: Vec<Excluded>,
    /// Whose they are.
    pub(crate) projects: Vec<Project>,
}

impl Candidate {
    /// A candidate of `owner`.
    pub(crate) fn new(
        owner: &Owner,
        layer: Layer,
        kind: ResourceKind,
        name: String,
        file: Option<(String, PathBuf)>,
    ) -> Self {
        let (location, path) = file.unzip();
        let resource = Resource {
            kind,
            name,
            location,
            payload: None,
            package: false,
            cold: false,
            needs: Vec::new(),
            project: owner.project.clone(),
            origin: owner.origin,
            reason: owner.reason.clone(),
        };
        Self { resource, path, layer, expected: None }
    }

    /// Whether `import` can find it.
    pub(crate) fn is_importable(&self) -> bool {
        is_importable(self.resource.kind)
    }

    /// How messages name it: its file, or else its name.
    pub(crate) fn place(&self) -> String {
        match &self.path {
            Some(path) => path.display().to_string(),
            None => self.resource.name.clone(),
        }
    }
}

impl Found {
    /// Adds what another search found.
    pub(crate) fn append(&mut self, mut other: Self) {
        self.candidates.append(&mut other.candidates);
        self.excluded.append(&mut other.excluded);
        self.projects.append(&mut other.projects);
    }

    /// Notes that something of `project` is left out.
    pub(crate) fn exclude(
        &mut self,
        name: impl Into<String>,
        project: &str,
        reason: impl Into<String>,
    ) {
        self.excluded.push(Excluded {
            name: name.into(),
            project: project.to_owned(),
            reason: reason.into(),
        });
    }
}

/// Whether `import` can find resources of that kind.
pub(crate) const fn is_importable(kind: ResourceKind) -> bool {
    matches!(
        kind,
        ResourceKind::Module
            | ResourceKind::Package
            | ResourceKind::NamespacePackage
            | ResourceKind::ExtensionModule
    )
}

/// A project's name in its normal form (PEP 503).
pub(crate) fn normalise(name: &str) -> String {
    let words = name.split(['-', '_', '.']).filter(|word| !word.is_empty());
    words.map(str::to_lowercase).collect::<Vec<_>>().join("-")
}

/// Whether each part of a dotted name is an identifier.
pub(crate) fn is_dotted_name(name: &str) -> bool {
    name.split('.').all(is_identifier)
}
