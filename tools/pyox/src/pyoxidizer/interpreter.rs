//! `[[embedded_python_config]]`: fields of `PyConfig`, and what a program finds in `sys` and the environment.

use pyox_schema::Value;
use pyox_stage::Result;

use super::Translation;
use super::tables::{At, PythonConfig};
use crate::settings::Settings;

impl Translation<'_> {
    /// Reads all tables.
    pub(super) fn config(&mut self, configs: &[At<PythonConfig>]) -> Result<()> {
        let mut last = PythonConfig::default();
        for at in configs {
            let table = &at.table;
            macro_rules! take {
                ($($key:ident)+) => { $(if table.$key.is_some() { last.$key.clone_from(&table.$key); })+ };
            }
            take! {
                dont_write_bytecode ignore_environment no_site no_user_site_directory program_name
                stdio_encoding unbuffered_stdio sys_frozen sys_meipass sys_paths terminfo_resolution terminfo_dirs
                write_modules_directory_env
            }
            if let Some(text) = &table.stdio_encoding
                && let (encoding, errors) = encoding(text)
                && (encoding.is_empty() || errors.is_empty())
            {
                let what = format!("expected `ENCODING:ERRORS`, got `{text}`");
                return Err(at.fault("stdio_encoding", what));
            }
            if let Some(level) = table.optimize_level {
                self.levels.insert(Self::level(at, level)?);
            }
            if table.filesystem_importer == Some(false) {
                self.note(
                    at,
                    "filesystem_importer",
                    "modules in files can be imported too, after those in the executable",
                );
            }
            match table.raw_allocator.as_deref() {
                // It is what CPython does.
                None | Some("system") => {}
                Some("jemalloc" | "rust") => {
                    self.note(at, "raw_allocator", "not used, memory is that of the C library");
                }
                Some(other) => {
                    let known = ["jemalloc", "rust", "system"];
                    return Err(at.unknown("raw_allocator", other, &known));
                }
            }
            match table.terminfo_resolution.as_deref() {
                Some("static") if last.terminfo_dirs.is_none() => {
                    let what = "expected `terminfo_dirs` beside `static`, found none";
                    return Err(at.fault("terminfo_resolution", what));
                }
                None | Some("dynamic" | "none" | "static") => {}
                Some(other) => {
                    let known = ["dynamic", "none", "static"];
                    return Err(at.unknown("terminfo_resolution", other, &known));
                }
            }
        }
        self.fields(&last);
        let Settings { sys, environment, search_path, module_lists, .. } = &mut self.settings;
        if last.sys_frozen == Some(true) {
            sys.insert("frozen".to_owned(), Value::Boolean(true));
        }
        if last.sys_meipass == Some(true) {
            sys.insert("_MEIPASS".to_owned(), Value::Text("$ORIGIN".to_owned()));
        }
        *search_path = last.sys_paths.unwrap_or_default();
        if let (Some("static"), Some(folders)) =
            (last.terminfo_resolution.as_deref(), last.terminfo_dirs)
        {
            environment.insert("TERMINFO_DIRS".to_owned(), folders);
        }
        *module_lists = last.write_modules_directory_env.filter(|name| !name.is_empty());
        Ok(())
    }

    /// The fields of `PyConfig` whose value is not pyox's own.
    fn fields(&mut self, last: &PythonConfig) {
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
            let (encoding, errors) = encoding(text);
            set("stdio_encoding", Value::Text(encoding.to_owned()));
            set("stdio_errors", Value::Text(errors.to_owned()));
        }
    }
}

/// The name of an encoding, and what becomes of errors.
fn encoding(text: &str) -> (&str, &str) {
    text.split_once(':').unwrap_or((text, "strict"))
}
