//! Starting the interpreter and ending it: PEP 587's structures and the table of frozen modules.

use std::borrow::Cow;
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::os::unix::ffi::OsStrExt;
use std::panic::catch_unwind;
use std::path::Path;
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use pyo3_ffi as c;

use super::{Attached, Exception, Raised, snapshot};

/// Why the interpreter did not start.
#[derive(Debug)]
pub(crate) enum Status {
    /// It failed: the function, where CPython names it, and the reason.
    Error(String),
    /// It wants the process to end with this exit status.
    Exit(i32),
}

/// `PyPreConfig`.
pub(crate) struct PreConfig(c::PyPreConfig);

/// `PyConfig`.
pub(crate) struct Config(c::PyConfig);

/// The strings that a `wchar_t*` field can take.
pub(crate) type WideString = Vec<libc::wchar_t>;

impl PreConfig {
    /// The values that `python` itself starts with.
    pub(crate) fn python() -> Self {
        let mut config = MaybeUninit::uninit();
        // SAFETY: the function fills in every field.
        unsafe {
            c::PyPreConfig_InitPythonConfig(config.as_mut_ptr());
            Self(config.assume_init())
        }
    }

    /// The field of that name.
    pub(crate) fn integer(&mut self, name: &str) -> Option<&mut c_int> {
        macro_rules! fields {
            ($($field:ident)+) => { match name { $(stringify!($field) => Some(&mut self.0.$field),)+ _ => None } };
        }
        fields! {
            parse_argv isolated use_environment configure_locale coerce_c_locale
            coerce_c_locale_warn utf8_mode dev_mode allocator
        }
    }
}

impl Config {
    /// The values that `python` itself starts with.
    pub(crate) fn python() -> Self {
        let mut config = MaybeUninit::uninit();
        // SAFETY: the function fills in every field.
        unsafe {
            c::PyConfig_InitPythonConfig(config.as_mut_ptr());
            Self(config.assume_init())
        }
    }

    /// The `int` field of that name.
    pub(crate) fn integer(&mut self, name: &str) -> Option<&mut c_int> {
        macro_rules! fields {
            ($($field:ident)+) => { match name { $(stringify!($field) => return Some(&mut self.0.$field),)+ _ => {} } };
        }
        fields! {
            isolated use_environment dev_mode install_signal_handlers use_hash_seed faulthandler
            tracemalloc import_time code_debug_ranges show_ref_count dump_refs malloc_stats parse_argv
            site_import bytes_warning warn_default_encoding inspect interactive optimization_level
            parser_debug write_bytecode verbose quiet user_site_directory configure_c_stdio
            buffered_stdio use_frozen_modules safe_path pathconfig_warnings module_search_paths_set
            skip_source_first_line
        }
        #[cfg(Py_3_12)]
        fields! { perf_profiling int_max_str_digits }
        #[cfg(Py_3_13)]
        fields! { cpu_count }
        #[cfg(Py_3_14)]
        fields! { remote_debug thread_inherit_context context_aware_warnings }
        #[cfg(Py_3_15)]
        fields! { lazy_imports pymalloc_hugepages }
        None
    }

    /// Sets the hash seed, the one field that is an `unsigned long`.
    pub(crate) fn set_hash_seed(&mut self, seed: u64) {
        self.0.hash_seed = seed;
    }

    /// Sets the `wchar_t*` field of that name; false where there is none.
    pub(crate) fn set_string(&mut self, name: &str, value: &str) -> Result<bool, Status> {
        macro_rules! fields {
            ($($field:ident)+) => { match name { $(stringify!($field) => &raw mut self.0.$field,)+ _ => return Ok(false) } };
        }
        let field = fields! {
            filesystem_encoding filesystem_errors pycache_prefix stdio_encoding stdio_errors
            check_hash_pycs_mode program_name pythonpath_env home platlibdir stdlib_dir executable
            base_executable prefix base_prefix exec_prefix base_exec_prefix run_command run_module
            run_filename dump_refs_file
        };
        let value = wide(value);
        // SAFETY: `field` is a field of this configuration, and the string ends with a zero. The
        // configuration takes a copy.
        check(unsafe { c::PyConfig_SetString(&raw mut self.0, field, value.as_ptr()) })
            .map(|()| true)
    }

    /// Sets the `PyWideStringList` field of that name; false where there is none.
    pub(crate) fn set_list(&mut self, name: &str, values: &[String]) -> Result<bool, Status> {
        macro_rules! fields {
            ($($field:ident)+) => { match name { $(stringify!($field) => &raw mut self.0.$field,)+ _ => return Ok(false) } };
        }
        let field = fields! { orig_argv argv xoptions warnoptions module_search_paths };
        let mut values: Vec<WideString> = values.iter().map(|value| wide(value)).collect();
        let mut pointers: Vec<_> = values.iter_mut().map(Vec::as_mut_ptr).collect();
        let len = pointers.len().cast_signed();
        // SAFETY: `field` is a list of this configuration, which takes copies of `len` strings that end
        // with a zero each.
        check(unsafe {
            c::PyConfig_SetWideStringList(&raw mut self.0, field, len, pointers.as_mut_ptr())
        })
        .map(|()| true)
    }

    /// Sets a path whose bytes are the file system's. The interpreter must be pre-initialised.
    pub(crate) fn set_path(&mut self, name: PathField, value: &CStr) -> Result<(), Status> {
        let field = match name {
            PathField::Executable => &raw mut self.0.executable,
            PathField::BaseExecutable => &raw mut self.0.base_executable,
            PathField::ProgramName => &raw mut self.0.program_name,
            PathField::Prefix => &raw mut self.0.prefix,
            PathField::BasePrefix => &raw mut self.0.base_prefix,
            PathField::ExecPrefix => &raw mut self.0.exec_prefix,
            PathField::BaseExecPrefix => &raw mut self.0.base_exec_prefix,
            PathField::StdlibDir => &raw mut self.0.stdlib_dir,
        };
        // SAFETY: `field` is a field of this configuration, which takes a decoded copy.
        check(unsafe { c::PyConfig_SetBytesString(&raw mut self.0, field, value.as_ptr()) })
    }

    /// Sets `argv`, as the process got it. The interpreter must be pre-initialised.
    pub(crate) fn set_argv(&mut self, argv: &[CString]) -> Result<(), Status> {
        let mut pointers: Vec<*const c_char> = argv.iter().map(|a| a.as_ptr()).collect();
        let len = pointers.len().cast_signed();
        // SAFETY: `len` C strings, of which the configuration takes decoded copies.
        check(unsafe { c::PyConfig_SetBytesArgv(&raw mut self.0, len, pointers.as_mut_ptr()) })
    }
}

/// Paths of the configuration whose bytes come from the system.
#[derive(Debug, Clone, Copy)]
pub(crate) enum PathField {
    Executable,
    BaseExecutable,
    ProgramName,
    Prefix,
    BasePrefix,
    ExecPrefix,
    BaseExecPrefix,
    StdlibDir,
}

impl PathField {
    pub(crate) const ALL: [Self; 8] = [
        Self::Executable,
        Self::BaseExecutable,
        Self::ProgramName,
        Self::Prefix,
        Self::BasePrefix,
        Self::ExecPrefix,
        Self::BaseExecPrefix,
        Self::StdlibDir,
    ];
}

impl Drop for Config {
    fn drop(&mut self) {
        // SAFETY: the configuration was initialised and owns its strings.
        unsafe { c::PyConfig_Clear(&raw mut self.0) };
    }
}

/// The function that makes a built-in module, as C's `PyInit_NAME`.
pub type BuiltinInit = unsafe extern "C" fn() -> *mut c::PyObject;

/// Adds a module to those that are linked in, for the next start; false where there is no memory.
pub(crate) fn add_builtin(name: &'static CStr, init: BuiltinInit) -> bool {
    // SAFETY: no interpreter runs yet. The name lives as long as the process, and the function makes a module: who gave it
    // has said so by its type.
    unsafe { c::PyImport_AppendInittab(name.as_ptr(), Some(init)) == 0 }
}

/// Settles locale, encoding and memory allocators: everything that decodes strings needs them.
pub(crate) fn pre_initialize(config: &PreConfig, argv: &[CString]) -> Result<(), Status> {
    let mut pointers: Vec<*mut c_char> = argv.iter().map(|a| a.as_ptr().cast_mut()).collect();
    let len = pointers.len().cast_signed();
    // SAFETY: `len` C strings, which CPython reads and does not keep.
    check(unsafe {
        c::Py_PreInitializeFromBytesArgs(&raw const config.0, len, pointers.as_mut_ptr())
    })
}

/// The C library's name for the encoding of the locale, such as `UTF-8`.
pub(crate) fn locale_encoding() -> CString {
    // SAFETY: the string is static until the next call, and copied at once.
    unsafe { CStr::from_ptr(libc::nl_langinfo(libc::CODESET)) }.to_owned()
}

/// A path as Python has it, in the form in which marshal writes text: UTF-8, in which bytes that the locale gives no
/// meaning are surrogates. The interpreter must be pre-initialised.
pub(crate) fn decoded(path: &Path) -> Vec<u8> {
    let Ok(path) = CString::new(path.as_os_str().as_bytes()) else { return Vec::new() };
    let mut out = Vec::new();
    // SAFETY: a C string; the result ends with a zero and is freed once it was read.
    unsafe {
        let text = c::Py_DecodeLocale(path.as_ptr(), ptr::null_mut());
        if text.is_null() {
            return out;
        }
        let mut at = text;
        while *at != 0 {
            // `wchar_t` has a sign on some machines.
            let letter = u32::from_ne_bytes((*at).to_ne_bytes());
            match char::from_u32(letter) {
                Some(letter) => out.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes()),
                // What is no character is a surrogate, between U+D800 and U+DFFF.
                None => out.extend([0xed, continuation(letter >> 6), continuation(letter)]),
            }
            at = at.add(1);
        }
        c::PyMem_RawFree(text.cast());
    }
    out
}

/// The byte that holds the last six of these bits, behind the first one of a character.
fn continuation(bits: u32) -> u8 {
    0x80 | (bits & 0x3f).to_le_bytes()[0]
}

/// Makes modules importable before there is an importer: `(name, marshalled code, package)`.
///
/// The table and what it points to must last as long as the interpreter: it is as long as the few modules that start-up
/// needs.
pub(crate) fn freeze(modules: impl Iterator<Item = (String, Cow<'static, [u8]>, bool)>) {
    let mut codes = frozen();
    let entry = |name: *const c_char, code: &[u8], package: bool| c::_frozen {
        name,
        code: if code.is_empty() { ptr::null() } else { code.as_ptr() },
        size: c_int::try_from(code.len()).unwrap_or(0),
        is_package: c_int::from(package),
        #[cfg(not(Py_3_13))]
        get_code: None,
    };
    let named = modules.filter_map(|(name, code, package)| {
        let name = CString::new(name).ok()?.into_raw().cast_const();
        let entry = entry(name, &code, package);
        codes.push(code);
        Some(entry)
    });
    let table: Vec<_> = named.chain([entry(ptr::null(), &[], false)]).collect();
    // SAFETY: no interpreter runs yet, so nobody reads the variable; the table ends with an entry
    // without a name and is never freed.
    unsafe { c::PyImport_FrozenModules = table.leak().as_ptr() };
}

/// Takes that table away: the importer has the modules from now on.
pub(crate) fn unfreeze() {
    // SAFETY: CPython reads the variable when it looks for a module, and takes null for no table.
    unsafe { c::PyImport_FrozenModules = ptr::null() };
    if snapshot::is_recording() {
        // An image need not hold it.
        frozen().clear();
    }
}

/// The code in the table. Its bytes stay where they are.
static FROZEN: Mutex<Vec<Cow<'static, [u8]>>> = Mutex::new(Vec::new());

fn frozen() -> MutexGuard<'static, Vec<Cow<'static, [u8]>>> {
    FROZEN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What is told the name of each module before it is looked for.
type Watch = fn(Attached<'_>, &str) -> super::Result<()>;

static WATCH: OnceLock<Watch> = OnceLock::new();

/// Has a function called before each import that has to look for its module, from the next start of an interpreter to
/// its end. Of all calls in a process the first one's function counts.
///
/// It is an audit hook, which cannot be taken back and costs every audited event a call.
pub(crate) fn watch_imports(watch: Watch) {
    WATCH.get_or_init(|| watch);
    add_hook(audit);
}

/// Has further interpreters prepared when they import for the first time, where libpython is a library of its own.
pub(crate) fn watch_interpreters() {
    add_hook(audit);
}

/// What CPython calls with the name of each audited event, and its arguments.
type Hook = unsafe extern "C" fn(*const c_char, *mut c::PyObject, *mut c_void) -> c_int;

/// False where there is no memory, or the program's own hooks forbid it: then an exception is set.
pub(super) fn add_hook(hook: Hook) -> bool {
    // SAFETY: the hook is a function of this crate and needs no data.
    unsafe { PySys_AddAuditHook(Some(hook), ptr::null_mut()) == 0 }
}

/// The audit hook of [`watch_imports`]. Of the event `import` the first argument is the module's name.
unsafe extern "C" fn audit(
    event: *const c_char,
    arguments: *mut c::PyObject,
    _: *mut c_void,
) -> c_int {
    // SAFETY: CPython passes a C string, and a tuple that outlives the call, in a thread that is attached.
    unsafe {
        if CStr::from_ptr(event) != c"import" {
            return 0;
        }
        let attached = Attached::assume();
        let told = catch_unwind(|| {
            super::subinterpreters::prepare_late(attached)?;
            let Some(watch) = WATCH.get() else { return Ok(()) };
            let name = attached.borrowed(c::PyTuple_GetItem(arguments, 0))?;
            // A name that is no text belongs to no module of ours.
            name.text().map_or(Ok(()), |name| watch(attached, name))
        });
        match told {
            Ok(Ok(())) => 0,
            Ok(Err(Raised)) => -1,
            Err(_) => {
                attached.raise(Exception::SystemError, "pyembed: the start panicked");
                -1
            }
        }
    }
}

unsafe extern "C" {
    /// The configuration of the calling thread's interpreter.
    fn _Py_GetConfig() -> *const c::PyConfig;

    fn PySys_AddAuditHook(hook: Option<Hook>, data: *mut c_void) -> c_int;
}

/// What the executable has in place of CPython's search for an installation.
///
/// There is none to find: [`crate::PythonConfig`] sets every path before. CPython's own function would
/// look for `pyvenv.cfg` and the like around the executable all the same. `pyox-link` puts this one in its
/// place (`--wrap`); in a program that is linked otherwise nobody calls it.
/// Since 3.13, CPython's also makes truth values of what may have been counted, such as `-qq`.
///
/// # Safety
/// `config` must be an initialised configuration.
#[unsafe(no_mangle)]
unsafe extern "C" fn __wrap__PyConfig_InitPathConfig(
    config: *mut c::PyConfig,
    _: c_int,
) -> c::PyStatus {
    // SAFETY: the caller's word.
    unsafe {
        if cfg!(Py_3_13)
            && let Some(config) = config.as_mut()
        {
            for field in [
                &mut config.parser_debug,
                &mut config.inspect,
                &mut config.interactive,
                &mut config.quiet,
            ] {
                *field = c_int::from(*field != 0);
            }
        }
        c::PyStatus_Ok()
    }
}

/// What the executable has in place of CPython's end of a thread (`--wrap`, as above).
///
/// Before 3.14, a daemon thread that wants to run on while the interpreter ends is taken down by
/// `pthread_exit`. That unwinds the thread's stack, through the importer's frames too, and Rust may not be
/// unwound so. Such a thread stops for good instead, as 3.14 has it; the end of the process takes it along.
#[unsafe(no_mangle)]
extern "C-unwind" fn __wrap_PyThread_exit_thread() -> ! {
    // SAFETY: reads a flag; the others take no memory of ours.
    unsafe {
        while is_finalizing() != 0 {
            libc::pause();
        }
        pthread_exit(ptr::null_mut())
    }
}

/// The same where libpython is a library of its own, whose calls of the C library can be taken over, and no others.
#[unsafe(no_mangle)]
extern "C-unwind" fn pyembed_pthread_exit(value: *mut c_void) -> ! {
    // SAFETY: as above; the function behind is the C library's own, which is looked up once more because this one has its
    // name.
    unsafe {
        while super::has_python() && is_finalizing() != 0 {
            libc::pause();
        }
        let next = libc::dlsym(libc::RTLD_NEXT, c"pthread_exit".as_ptr());
        if next.is_null() {
            std::process::abort();
        }
        std::mem::transmute::<*mut c_void, unsafe extern "C-unwind" fn(*mut c_void) -> !>(next)(
            value,
        )
    }
}

unsafe extern "C-unwind" {
    /// Public since 3.13.
    #[cfg_attr(Py_3_13, link_name = "Py_IsFinalizing")]
    #[cfg_attr(not(Py_3_13), link_name = "_Py_IsFinalizing")]
    fn is_finalizing() -> c_int;

    fn pthread_exit(value: *mut c_void) -> !;
}

#[cfg(Py_3_13)]
unsafe extern "C" {
    /// Says that the calling thread runs the interpreter's program; -1 and an exception where one does.
    fn _PyInterpreterState_SetRunningMain(interpreter: *mut c::PyInterpreterState) -> c_int;

    /// Takes that back.
    fn _PyInterpreterState_SetNotRunningMain(interpreter: *mut c::PyInterpreterState);
}

/// The right to the one main interpreter that a process can have at a time.
#[derive(Debug)]
pub(crate) struct Place(());

/// Whether somebody has it.
static IS_TAKEN: AtomicBool = AtomicBool::new(false);

/// Whether a start has failed half-way, which CPython cannot undo.
static HAS_FAILED: AtomicBool = AtomicBool::new(false);

impl Place {
    /// None while another has it, or where code that is not ours has started an interpreter.
    pub(crate) fn take() -> Option<Self> {
        if IS_TAKEN.swap(true, Ordering::Acquire) {
            return None;
        }
        let place = Self(());
        // SAFETY: the function may be called at any time.
        let is_free = unsafe { c::Py_IsInitialized() == 0 };
        (is_free && !HAS_FAILED.load(Ordering::Acquire)).then_some(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        IS_TAKEN.store(false, Ordering::Release);
    }
}

/// The main interpreter, with this thread attached to it. It ends with this value.
#[derive(Debug)]
pub(crate) struct Interpreter {
    /// Gone once it has ended.
    place: Option<Place>,
    /// It ends in the thread that has started it.
    thread: PhantomData<*const ()>,
}

impl Interpreter {
    /// Starts it. CPython cannot take back a start that fails half-way: then no other can follow in this process.
    pub(crate) fn start(place: Place, config: &Config) -> Result<Self, Status> {
        // SAFETY: the configuration is initialised, and there is no interpreter.
        let status = unsafe { c::Py_InitializeFromConfig(&raw const config.0) };
        match check(status) {
            Ok(()) => Ok(Self { place: Some(place), thread: PhantomData }),
            Err(status) => {
                // A failed start leaves its thread attached, if it came so far.
                // SAFETY: the function may be called at any time.
                let is_left = unsafe { !super::own::thread_state().is_null() };
                HAS_FAILED.store(is_left, Ordering::Release);
                Err(match (status, left_exception()) {
                    (Status::Error(why), Some(exception)) => {
                        Status::Error(format!("{why}: {exception}"))
                    }
                    (status, _) => status,
                })
            }
        }
    }

    /// The one of the image that this process has begun with.
    pub(super) fn resumed() -> Self {
        IS_TAKEN.store(true, Ordering::Release);
        Self { place: Some(Place(())), thread: PhantomData }
    }

    /// The proof that this thread is attached.
    // What proves it is that there is a value.
    #[allow(clippy::unused_self)]
    pub(crate) fn attached(&self) -> Attached<'_> {
        // SAFETY: the thread has been since the start, and a value of this type neither leaves it nor outlives the end.
        unsafe { Attached::assume() }
    }

    /// Runs something as the interpreter's program, as CPython's own `main` does: by this its thread is known to debuggers of other
    /// processes (`sys.remote_exec`), and the interpreter as one that is running. Before 3.13 nobody asks.
    // What proves that there is one is that there is a value.
    #[allow(clippy::unused_self)]
    pub(crate) fn as_program<T>(&self, body: impl FnOnce() -> T) -> T {
        #[cfg(Py_3_13)]
        // SAFETY: this thread is attached to the interpreter, and nothing has run as its program yet: so there is no error.
        unsafe {
            _PyInterpreterState_SetRunningMain(c::PyInterpreterState_Get());
        }
        let result = body();
        #[cfg(Py_3_13)]
        // SAFETY: as above; where the program ends the process, CPython does this.
        unsafe {
            _PyInterpreterState_SetNotRunningMain(c::PyInterpreterState_Get());
        }
        result
    }

    /// Ends it as `python` does; false where flushing its streams failed.
    pub(crate) fn finalize(mut self) -> bool {
        self.end(|| {
            // SAFETY: this thread is attached to the interpreter.
            unsafe { c::Py_FinalizeEx() == 0 }
        })
    }

    /// Goes on as the `python` command would, with the configuration's command line, and ends: without one, that is the
    /// interactive interpreter, or a program from stdin. Gives the exit status.
    pub(crate) fn run_main(mut self) -> i32 {
        self.end(|| {
            // SAFETY: the interpreter is initialised; this ends it.
            unsafe { c::Py_RunMain() }
        })
    }

    fn end<T>(&mut self, by: impl FnOnce() -> T) -> T {
        let result = by();
        super::own::note_end();
        self.place = None;
        result
    }
}

impl Drop for Interpreter {
    fn drop(&mut self) {
        if self.place.is_some() {
            self.end(|| {
                // SAFETY: this thread is attached to the interpreter.
                unsafe { c::Py_FinalizeEx() }
            });
        }
    }
}

/// The exception that a start has failed with, where it came so far.
fn left_exception() -> Option<String> {
    // SAFETY: the first function may be called at any time; where there is a core, this thread may be attached to it.
    unsafe {
        if super::own::thread_state().is_null() {
            return None;
        }
        let attached = Attached::assume();
        (!c::PyErr_Occurred().is_null()).then(|| attached.take(Raised).describe())
    }
}

/// Whether the interpreter's command line begins a session with a user, right away or behind a program.
pub(crate) fn begins_session(_: Attached<'_>) -> bool {
    // SAFETY: this thread is attached, and the interpreter keeps its configuration. The descriptor may be closed.
    unsafe {
        let config = &*_Py_GetConfig();
        let programs = [config.run_command, config.run_module, config.run_filename];
        let reads_stdin = programs.iter().all(|program| program.is_null());
        config.inspect != 0 || reads_stdin && libc::isatty(libc::STDIN_FILENO) == 1
    }
}

/// Has a session say by what words it can be asked for help. CPython does where it has imported `site`.
pub(crate) fn greet_with_site(_: Attached<'_>) {
    // SAFETY: as above. What runs the session alone reads the field from now on.
    unsafe { (*_Py_GetConfig().cast_mut()).site_import = 1 };
}

/// Prints the exception that is set, or ends the process if it is a `SystemExit`.
pub(crate) fn print_exception(_: Attached<'_>) {
    // SAFETY: this thread is attached and an exception is set.
    unsafe { c::PyErr_PrintEx(1) };
}

/// Ends the process as Ctrl-C ends one that does not handle it.
pub(crate) fn die_of_interrupt() {
    // SAFETY: the default action runs no code of this process.
    unsafe {
        libc::signal(libc::SIGINT, libc::SIG_DFL);
        libc::raise(libc::SIGINT);
    }
}

/// The version of the Python that is linked in, such as `3.13.5`; there need be no interpreter yet.
pub(crate) fn python_version() -> &'static str {
    // SAFETY: a static string, the version and more behind a space.
    let text = unsafe { CStr::from_ptr(c::Py_GetVersion()) };
    text.to_str().ok().and_then(|text| text.split(' ').next()).unwrap_or_default()
}

/// The magic number of the bytecode that this interpreter runs.
pub(crate) fn bytecode_magic(_: Attached<'_>) -> u32 {
    // SAFETY: the interpreter is initialised. The number has 32 bits on every platform.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    unsafe {
        c::PyImport_GetMagicNumber() as u32
    }
}

fn check(status: c::PyStatus) -> Result<(), Status> {
    // SAFETY: the functions look at the value; its strings are static.
    unsafe {
        if c::PyStatus_Exception(status) == 0 {
            return Ok(());
        }
        if c::PyStatus_IsExit(status) != 0 {
            return Err(Status::Exit(status.exitcode));
        }
        let text = |text: *const c_char| {
            (!text.is_null()).then(|| CStr::from_ptr(text).to_string_lossy().into_owned())
        };
        let message = text(status.err_msg).unwrap_or_else(|| "unknown error".to_owned());
        Err(Status::Error(match text(status.func) {
            Some(function) => format!("{function}: {message}"),
            None => message,
        }))
    }
}

/// A string of `wchar_t`, which is UTF-32 on the platforms that pyembed runs on.
fn wide(text: &str) -> WideString {
    let letter = |letter| libc::wchar_t::from_ne_bytes(u32::from(letter).to_ne_bytes());
    text.chars().map(letter).chain([0]).collect()
}
