//! Where things lie in the application's tree: as in an installation of Python, with the application beside it.
//!
//! `docs/formats/manifest.md` specifies it. It is here because two have to agree on it: the tool that gives things
//! their places, and the run-time library that makes `sys.path` and `sys.prefix` of them.

/// The folders of a tree that modules are imported from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tree {
    /// The application's own scripts, modules and packages.
    pub application: String,
    /// The standard library.
    pub stdlib: String,
    /// Its extension modules.
    pub dynload: String,
    /// Installed projects.
    pub projects: String,
}

/// Where shared libraries lie that are no project's.
pub const LIBRARIES: &str = "lib";

/// Where libpython lies as a shared library, for an executable that is linked without it.
#[must_use]
pub fn libpython((major, minor): (u8, u8)) -> String {
    format!("{LIBRARIES}/libpython{major}.{minor}.so.1.0")
}

impl Tree {
    /// That of a Python with that major and minor version.
    #[must_use]
    pub fn of((major, minor): (u8, u8)) -> Self {
        let stdlib = format!("{LIBRARIES}/python{major}.{minor}");
        Self {
            application: "app".to_owned(),
            dynload: format!("{stdlib}/lib-dynload"),
            projects: format!("{stdlib}/site-packages"),
            stdlib,
        }
    }

    /// The folders in the order of `sys.path`.
    #[must_use]
    pub fn search_path(&self) -> [&str; 4] {
        [&self.application, &self.stdlib, &self.dynload, &self.projects]
    }

    /// The folder of [`Tree::search_path`] that a location is in or is itself, and the rest of the location. The
    /// innermost one: `site-packages` lies in the standard library's folder.
    #[must_use]
    pub fn split<'a>(&self, location: &'a str) -> Option<(&str, &'a str)> {
        let folders = self.search_path().into_iter();
        let inside = folders.filter_map(|folder| Some((folder, below(location, folder)?)));
        inside.max_by_key(|(folder, _)| folder.len())
    }
}

/// What is left of a location behind a folder that it is in or is itself.
fn below<'a>(location: &'a str, folder: &str) -> Option<&'a str> {
    let rest = location.strip_prefix(folder)?;
    if rest.is_empty() { Some(rest) } else { rest.strip_prefix('/') }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_location_is_in_the_innermost_folder() {
        let tree = Tree::of((3, 13));
        for (location, expected) in [
            ("app/main.py", Some(("app", "main.py"))),
            ("app", Some(("app", ""))),
            ("application/x", None),
            ("lib/python3.13/json/decoder.py", Some(("lib/python3.13", "json/decoder.py"))),
            ("lib/python3.13/lib-dynload/a.so", Some(("lib/python3.13/lib-dynload", "a.so"))),
            ("lib/python3.13/site-packages", Some(("lib/python3.13/site-packages", ""))),
            ("lib/libz.so.1", None),
            ("bin/ruff", None),
        ] {
            assert_eq!(tree.split(location), expected, "{location}");
        }
    }
}
