//! CPython's UTF-8 mode, which is on in the locale `C`. Before 3.15 an image is taken without it, and a process may need it.
//!
//! The switch stands in a structure of CPython's whose place no header tells. It is looked for by its neighbours, whose values
//! are known, and what is found is tried.

use pyo3_ffi as c;

use super::super::{Attached, Result};
use super::{data, place};

/// Where the switch stands; none where it is on in the image, as it is by default from CPython 3.15 on.
pub(super) struct Utf8Mode(Option<usize>);

/// The fields of `PyPreConfig` in a process that is recorded, as far as they are known: its kind, `parse_argv`, `isolated`,
/// `use_environment` and `configure_locale`; two that say what was done for the locale; `utf8_mode`, `dev_mode`, `allocator`.
const FIELDS: [Option<i32>; 10] =
    [Some(2), Some(0), Some(1), Some(0), Some(1), None, None, Some(0), Some(0), Some(0)];
const MODE: usize = 7;

/// The place of the mode in `sys.flags`.
const FLAG: isize = 14;

impl Utf8Mode {
    /// Looks for it. `None` if it is not found beyond doubt.
    pub(super) fn find(attached: Attached<'_>) -> Result<Option<Self>> {
        let encoding = attached.import(c"_io")?.attribute(c"text_encoding")?;
        let is_on = || Ok(encoding.call([&attached.none()])?.as_str()? == "utf-8");
        if is_on()? {
            return Ok(Some(Self(None)));
        }
        let places = data().into_iter().flat_map(|data| {
            let last = data.end.saturating_sub(size_of_val(&FIELDS));
            (data.start.next_multiple_of(4)..last).step_by(4)
        });
        let mut found = None;
        for start in places {
            // SAFETY: zeroed data and data of this process, which ends behind the last of them.
            let fields = unsafe { place::<[i32; FIELDS.len()]>(start).read() };
            let is_like = fields.iter().zip(FIELDS).all(|(a, b)| b.is_none_or(|b| *a == b));
            if !is_like {
                continue;
            }
            let mode = start + MODE * 4;
            write(mode, 1);
            let has_worked = is_on();
            write(mode, 0);
            if has_worked? && found.replace(Self(Some(mode))).is_some() {
                return Ok(None);
            }
        }
        Ok(found)
    }

    /// Turns it on.
    ///
    /// # Safety
    /// This thread must be attached.
    pub(super) unsafe fn turn_on(&self) {
        let Some(mode) = self.0 else { return };
        write(mode, 1);
        // SAFETY: a tuple of more fields than that. It takes over the reference, and lets go of nothing that is counted.
        unsafe {
            UTF8_MODE = 1;
            let flags = c::PySys_GetObject(c"flags".as_ptr());
            c::PyStructSequence_SetItem(flags, FLAG, c::PyLong_FromLong(1));
        }
    }
}

/// Whether it is on in this process.
pub(crate) fn is_utf8_mode() -> bool {
    // SAFETY: this process has one thread yet.
    unsafe { UTF8_MODE != 0 }
}

fn write(mode: usize, value: i32) {
    // SAFETY: a number among CPython's data, of this thread that is attached.
    unsafe { place::<i32>(mode).write(value) };
}

unsafe extern "C" {
    #[link_name = "Py_UTF8Mode"]
    static mut UTF8_MODE: i32;
}
