//! Further names of an executable that is several programs.

use std::fs;
use std::path::{Path, PathBuf};

use pyox_stage::{Fault, FaultExt, Result};

/// Makes them hard links of the file, so that each is what `sys.executable` and `ps` name. What bore a name before goes.
///
/// # Errors
///
/// Where a folder has the name, or the file system has no links.
pub(crate) fn make(executable: &Path, names: &[PathBuf]) -> Result<()> {
    for name in names.iter().filter(|name| *name != executable) {
        if let Ok(there) = fs::symlink_metadata(name) {
            if there.is_dir() {
                return Err(Fault::at(name, "expected a name for the program, but it is a folder"));
            }
            fs::remove_file(name).fault_at(name)?;
        }
        fs::hard_link(executable, name).fault_at(name)?;
    }
    Ok(())
}
