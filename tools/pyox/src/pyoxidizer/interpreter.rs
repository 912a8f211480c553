//! `[[embedded_python_config]]`: fields of `PyConfig`, and statements before the program.

use pyox_schema::Value;
use pyox_stage::{Fault, Result};

use super::Translation;
use super::prelude::Prelude;
use super::tables::{At, PythonConfig, unknown};
use crate::settings::Settings;

impl Translation<'_> {
    /// Reads all tables; gives what no field does.
    pub(super) fn config(&mut self, configs: &[At<PythonConfig>]) -> Result<Prelude> {
        let mut last = PythonConfig::default();
        let mut prelude = Prelude::default();
        for at in configs {
            let table = &at.table;
            macro_rules! take {
                ($($key:ident)+) => { $(if table.$key.is_some() { last.$key.clone_from(&table.$key); })+ };
            }
            take! {
                dont_write_bytecode ignore_environment no_site no_user_site_directory program_name
                stdio_encoding unbuffered_stdio sys_frozen sys_meipass sys_paths terminfo_resolution terminfo_dirs
            }
            if let Some(level) = table.optimize_level {
                self.levels.insert(Self::level(at, level)?);
            }
            if table.filesystem_importer == Some(false) {
                self.note(at, "filesystem_importer: modules in files can be imported too, after those in the executable");
            }
            match table.raw_allocator.as_deref() {
                // It is what CPython does.
                None | Some("system") => {}
                Some("jemalloc" | "rust") => {
                    self.note(at, "raw_allocator: not used, memory is that of the C library");
                }
                Some(other) => {
                    let known = ["jemalloc", "rust", "system"];
                    return Err(unknown(&at.place, "raw_allocator", other, &known));
                }
            }
            match table.terminfo_resolution.as_deref() {
                None | Some("dynamic" | "none" | "static") => {}
                Some(other) => {
                    let known = ["dynamic", "none", "static"];
                    return Err(unknown(&at.place, "terminfo_resolution", other, &known));
                }
            }
            if table.write_modules_directory_env.as_deref().is_some_and(|name| !name.is_empty()) {
                let what = "write_modules_directory_env: pyox does not write the modules that were imported";
                return Err(at
                    .fault(what)
                    .hint("`python -X importtime` lists them, `pyox-inspect` what is packed"));
            }
        }
        self.fields(&last, configs)?;
        prelude.is_frozen = last.sys_frozen == Some(true);
        prelude.has_meipass = last.sys_meipass == Some(true);
        prelude.paths = last.sys_paths.unwrap_or_default();
        if last.terminfo_resolution.as_deref() == Some("static") {
            prelude.terminfo = last.terminfo_dirs;
        }
        Ok(prelude)
    }

    /// The fields of `PyConfig` whose value is not pyox's own.
    fn fields(&mut self, last: &PythonConfig, configs: &[At<PythonConfig>]) -> Result<()> {
        let Settings { config, preconfig, .. } = &mut self.settings;
        let mut set = |name: &str, value: Value| config.insert(name.to_owned(), value);
        let (yes, no) = (Value::Boolean(true), Value::Boolean(false));
        if last.dont_write_bytecode == Some(false) {
            set("write_bytecode", yes.clone());
        }
        if last.no_site == Some(false) {
            set("site_import", yes.clone());
        }
        if last.ignore_environment == Some(false) {
            set("use_environment", yes.clone());
            preconfig.insert("use_environment".to_owned(), yes.clone());
            preconfig.insert("isolated".to_owned(), no.clone());
        }
        if last.no_user_site_directory == Some(false) {
            set("user_site_directory", yes);
        }
        if last.ignore_environment == Some(false) || last.no_user_site_directory == Some(false) {
            // CPython would turn both off again.
            set("isolated", no.clone());
        }
        if last.unbuffered_stdio == Some(true) {
            set("buffered_stdio", no);
        }
        if let Some(name) = &last.program_name {
            set("program_name", Value::Text(name.clone()));
        }
        if let Some(text) = &last.stdio_encoding {
            let (encoding, errors) = text.split_once(':').unwrap_or((text, "strict"));
            if encoding.is_empty() || errors.is_empty() {
                let what = format!("stdio_encoding: expected `ENCODING:ERRORS`, got `{text}`");
                let at = configs.iter().rev().find(|at| at.table.stdio_encoding.is_some());
                let place = at.map_or("pyoxidizer.toml", |at| at.place.as_str());
                return Err(Fault::new(place, what));
            }
            set("stdio_encoding", Value::Text(encoding.to_owned()));
            set("stdio_errors", Value::Text(errors.to_owned()));
        }
        Ok(())
    }
}
