//! Extension modules and shared libraries, from memory.
//!
//! An import, ctypes, or C code that calls `dlopen` with a path below the executable loads a shared object of the blob
//! here. The libraries that it needs are loaded before, each once, and the dynamic loader finds them by their SONAMEs.
//! From then on the loader knows the object by its path below the executable: `dlopen` finds it by that path, and
//! `dladdr` and debuggers show it. What has been loaded stays.

use std::collections::BTreeMap;
use std::ffi::{CStr, CString, OsStr, c_int};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use pyox_blob::layout::FileKind;
use pyox_blob::{Blob, File, tree};

use super::images::{self, Image};
use super::modules;
use super::packed::Packed;
use super::state::State;
use crate::ffi::{Attached, Function, LoadedLibrary, Object, Raised, Result, resolve_paths_by};
use crate::{ffi, files};

/// Lets C code load libraries of the blob, and ctypes too.
pub(super) fn install() {
    files::prepare();
    resolve_paths_by(resolve);
}

/// `create_module(spec)`: an extension module whose path CPython cannot open as it is: one of a package that has real
/// files, whose libraries must be loaded first, or one below an executable whose path is no text.
pub(super) static CREATE_MODULE: Function = Function {
    name: c"create_module",
    parameters: &["spec"],
    required: 1,
    body: |attached, arguments| create(attached, arguments.required(0)),
};

fn create<'py>(attached: Attached<'py>, spec: &Object<'py>) -> Result<Object<'py>> {
    let state = State::get();
    let name = spec.attribute(c"name")?;
    let module = modules::find(attached, name.as_str()?)?;
    let number = module
        .file
        .ok_or_else(|| attached.raise_import_error("its shared object is missing", module.name))?;
    let origin = spec.attribute(c"origin")?;
    let flags = attached.import(c"sys")?.call_method(c"getdlopenflags", [])?.as_integer()?;
    let flags = c_int::try_from(flags).unwrap_or(libc::RTLD_NOW);
    let name =
        load_with_needs(state.packed(), Some(attached), number, flags).map_err(|failure| {
            match failure {
                Failure::Why(why) => attached.raise_import_error_at(&why, module.name, &origin),
                Failure::Raised(raised) => raised,
            }
        })?;
    // `_imp.create_dynamic` opens what the origin names; the loader may know the file by another name.
    spec.set_attribute(c"origin", &attached.path(OsStr::from_bytes(name.to_bytes()))?)?;
    let create = attached.import(c"_imp")?.attribute(c"create_dynamic")?;
    let created = state.call_trimmed.get(attached).call([&create, spec]);
    match created {
        Ok(created) => {
            spec.set_attribute(c"origin", &origin)?;
            // Modules of the older kind have been told the path that was opened.
            attached.quietly(|| created.set_attribute(c"__file__", &origin));
            Ok(created)
        }
        Err(raised) => {
            attached.aside(|| spec.set_attribute(c"origin", &origin));
            Err(raised)
        }
    }
}

/// Loads libpython and what it needs from the blob, for a program that is linked without, before there is an interpreter.
pub(crate) fn load_python(blob: &Blob<'static>, executable: &Path) -> Result<(), String> {
    let location = tree::libpython(blob.config().map_err(|error| error.to_string())?.python);
    let Ok(Some(number)) = blob.file_number(&location) else {
        return Err(format!("{location}: expected in the blob, found nothing"));
    };
    let packed = Packed { blob, executable };
    match load_with_needs(packed, None, number, libc::RTLD_NOW | libc::RTLD_GLOBAL) {
        Ok(_) if ffi::bind() => Ok(()),
        Ok(_) => Err(format!("{location}: it lacks functions that this program needs")),
        Err(Failure::Why(why)) => Err(why),
        // There is no interpreter that could raise anything.
        Err(Failure::Raised(_)) => Err(location),
    }
}

/// Why something could not be loaded.
enum Failure {
    Why(String),
    Raised(Raised),
}

impl From<pyox_blob::Error> for Failure {
    fn from(error: pyox_blob::Error) -> Self {
        Self::Why(error.to_string())
    }
}

/// A shared object of the blob that is loaded, or being loaded.
#[derive(Default)]
struct Entry {
    image: Weak<Image>,
    library: Option<LoadedLibrary>,
    /// What the loader knows it by; such names are never freed.
    name: Option<&'static CStr>,
}

/// By the digests of blobs and the numbers of their file records: libraries stay when an interpreter ends, and the next
/// one may have another blob. Not to be locked while the loader runs: it runs constructors, which may ask for another
/// library.
static ENTRIES: Mutex<BTreeMap<Key, Entry>> = Mutex::new(BTreeMap::new());

type Key = ([u8; 32], u32);

fn entries() -> MutexGuard<'static, BTreeMap<Key, Entry>> {
    ENTRIES.lock().unwrap_or_else(PoisonError::into_inner)
}

fn key(packed: Packed<'_>, number: u32) -> Key {
    (packed.blob.digest(), number)
}

/// Loads a shared object, and before it what it needs; gives the name that the loader knows it by.
///
/// Libraries that need each other (harfbuzz and freetype do) cannot be found by SONAME, because each
/// would have to be loaded before the other: their images name each other by path.
///
/// Without an `attached` no package can be given its files.
fn load_with_needs(
    packed: Packed<'_>,
    attached: Option<Attached<'_>>,
    number: u32,
    flags: c_int,
) -> Result<&'static CStr, Failure> {
    if ffi::is_recording() {
        let file = packed.blob.file_at(number)?;
        if ffi::is_watched() {
            ffi::note_of(pyox_blob::snapshot::NATIVE, file.path.to_owned());
        } else {
            ffi::fail(&format!("{}: it is a shared object, which no image can hold", file.path));
        }
    }
    for group in packed.blob.load_order(number)? {
        if group.iter().all(|&member| name_of(packed, member).is_some()) {
            continue;
        }
        // Where libpython is part of the executable, the loader knows that by its name.
        if group.len() == 1 && is_linked_python(packed, group[0])? {
            continue;
        }
        // Python's own flags for extension modules: resolved now, symbols not offered to others.
        let flags = if group.contains(&number) { flags } else { libc::RTLD_NOW | libc::RTLD_LOCAL };
        let file = packed.blob.file_at(group[0])?;
        let loaded = if group.len() == 1 || real_path(attached, &file)?.is_some() {
            group.iter().try_for_each(|&member| {
                open(packed, attached, member, flags, &needs(packed, member)?).map(|_| ())
            })
        } else {
            open_circle(packed, &group, flags)
        };
        loaded.map_err(|failure| match failure {
            Failure::Why(why) if group[0] != number && !why.contains(file.path) => {
                Failure::Why(format!("{}: {why}", file.path))
            }
            failure => failure,
        })?;
    }
    name_of(packed, number).ok_or_else(|| Failure::Why("the loader does not know it".to_owned()))
}

/// Whether a file is the libpython of a portable program that has been given it. In a dynamic one it is no library of that name.
fn is_linked_python(packed: Packed<'_>, number: u32) -> Result<bool, pyox_blob::Error> {
    let blob = packed.blob;
    Ok(ffi::has_libpython() && blob.file_at(number)?.path == tree::libpython(blob.config()?.python))
}

/// The file of a package that has a placement.
fn real_path(
    attached: Option<Attached<'_>>,
    file: &File<'static>,
) -> Result<Option<String>, Failure> {
    let Some(attached) = attached else { return Ok(None) };
    State::get().placements.path(attached, file).map_err(Failure::Raised)
}

/// Loads one shared object, unless that has been done.
fn open(
    packed: Packed<'_>,
    attached: Option<Attached<'_>>,
    number: u32,
    flags: c_int,
    needs: &[u32],
) -> Result<&'static CStr, Failure> {
    if let Some(name) = name_of(packed, number) {
        return Ok(name);
    }
    let file = packed.blob.file_at(number)?;
    if let Some(path) = real_path(attached, &file)? {
        let library = LoadedLibrary::open(&path, flags).map_err(Failure::Why)?;
        return Ok(keep(packed, number, library, &path));
    }
    // Threads at the same time get one image, and so one library.
    let image = {
        let mut entries = entries();
        let entry = entries.entry(key(packed, number)).or_default();
        if let Some(image) = entry.image.upgrade() {
            image
        } else {
            let image = Arc::new(images::of(packed, &file, number).map_err(Failure::Why)?);
            entry.image = Arc::downgrade(&image);
            image
        }
    };
    let path = packed.path_of(&file);
    let library = loop {
        match LoadedLibrary::open(image.path(), flags) {
            Ok(library) => break library,
            Err(why) => {
                if !names_one_without_soname(packed, &why, needs) {
                    return Err(Failure::Why(why.replace(image.path(), &path)));
                }
            }
        }
    };
    // What its constructors ask for their own path gets this one.
    let name = rename(library, &path, image.path());
    image.complete(library).map_err(Failure::Why)?;
    // One of them, or another thread, may have noted it.
    Ok(name_of(packed, number).unwrap_or_else(|| keep(packed, number, library, name)))
}

/// Loads libraries that need each other.
fn open_circle(packed: Packed<'_>, numbers: &[u32], flags: c_int) -> Result<(), Failure> {
    let blob = packed.blob;
    let files =
        numbers.iter().map(|&number| blob.file_at(number)).collect::<Result<Vec<_>, _>>()?;
    let images = images::of_circle(packed, &files).map_err(Failure::Why)?;
    let Some(first) = images.first() else { return Ok(()) };
    let opened = LoadedLibrary::open(first.path(), flags);
    opened.map_err(|why| Failure::Why(why.replace(first.path(), &packed.path_of(&files[0]))))?;
    for ((&number, file), image) in numbers.iter().zip(&files).zip(&images) {
        if let Some(library) = LoadedLibrary::find(image.path()) {
            let path = packed.path_of(file);
            keep(packed, number, library, rename(library, &path, image.path()));
        }
    }
    Ok(())
}

/// Gives a dependency without a SONAME its file name, so that the loader can find it. Returns whether there was one to
/// name.
fn names_one_without_soname(packed: Packed<'_>, why: &str, needs: &[u32]) -> bool {
    let blob = packed.blob;
    let files = needs.iter().filter_map(|&need| Some((need, blob.file_at(need).ok()?)));
    for (need, file) in files {
        let name = images::name_of(&file);
        let is_meant = why.strip_prefix(name).is_some_and(|rest| rest.starts_with(':'));
        let library = entries().get(&key(packed, need)).and_then(|entry| entry.library);
        if is_meant
            && let Some(library) = library
            && name_of(packed, need).is_some_and(|known| known.to_bytes() != name.as_bytes())
        {
            library.rename(name);
            keep(packed, need, library, name);
            return true;
        }
    }
    false
}

/// Gives a library the name of its path below the executable, unless one of another blob has it. Gives the name that it has then.
fn rename<'a>(library: LoadedLibrary, path: &'a str, image: &'a str) -> &'a str {
    let is_free = entries()
        .values()
        .all(|entry| entry.name.is_none_or(|name| name.to_bytes() != path.as_bytes()));
    if is_free {
        library.rename(path);
    }
    if is_free { path } else { image }
}

/// Notes that a shared object is loaded, and the name that it goes by.
fn keep(packed: Packed<'_>, number: u32, library: LoadedLibrary, name: &str) -> &'static CStr {
    let name: &CStr = Box::leak(CString::new(name).unwrap_or_default().into_boxed_c_str());
    let mut entries = entries();
    let entry = entries.entry(key(packed, number)).or_default();
    entry.library = Some(library);
    entry.name = Some(name);
    name
}

fn name_of(packed: Packed<'_>, number: u32) -> Option<&'static CStr> {
    entries().get(&key(packed, number)).and_then(|entry| entry.name)
}

/// The numbers of the libraries that a file needs, dependencies first.
fn needs(packed: Packed<'_>, number: u32) -> Result<Vec<u32>, pyox_blob::Error> {
    let blob = packed.blob;
    Ok(blob.needs(&blob.file_at(number)?)?.collect())
}

/// The number of the one library whose file has a name. Costs a look at each file record.
fn number_of_named(packed: Packed<'_>, name: &str) -> Option<u32> {
    let blob = packed.blob;
    let numbers = 0..u32::try_from(blob.file_count()).ok()?;
    let mut found = numbers.filter(|&number| {
        let file = blob.file_at(number);
        file.is_ok_and(|file| file.kind == FileKind::Library && images::name_of(&file) == name)
    });
    found.next().filter(|_| found.next().is_none())
}

/// What `dlopen` opens in place of a path below the executable, or of a name that its caller's run path would
/// lead to: the library, which is loaded then.
fn resolve(path: &CStr, flags: c_int) -> Option<&'static CStr> {
    files::note_failure(None);
    // The interpreter may have ended.
    let state = State::of_here()?;
    let is_name = !path.to_bytes().contains(&b'/');
    let number = if is_name {
        number_of_named(state.packed(), path.to_str().ok()?)
    } else {
        files::number_of(&state.blob, path)
    }?;
    if flags & libc::RTLD_NOLOAD != 0 {
        return name_of(state.packed(), number);
    }
    // One that goes by the name already, from elsewhere, is what the loader would give.
    if is_name && LoadedLibrary::find(path.to_str().ok()?).is_some() {
        return None;
    }
    match load_with_needs(state.packed(), None, number, flags) {
        Ok(name) => Some(name),
        Err(Failure::Why(why)) => {
            files::note_failure(Some(why));
            None
        }
        Err(Failure::Raised(_)) => None,
    }
}
