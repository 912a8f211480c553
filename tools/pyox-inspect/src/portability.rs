//! Where it runs: the oldest glibc and kernel and the least processor, and which members need them.

use std::collections::BTreeMap;

use pyox_elf::{Elf, Need, Needs, Processor, Version};
use pyox_stage::{FaultExt, Result};
use serde::{Serialize, Serializer};

use crate::input::{Input, Subject};

/// System calls by the functions of glibc that are made for one, and the Linux that brought them. What calls such a function
/// may do without: this tells what it may ask for.
const CALLS: [(&str, &str); 14] = [
    ("close_range", "5.9"),
    ("copy_file_range", "4.5"),
    ("epoll_pwait2", "5.11"),
    ("getrandom", "3.17"),
    ("memfd_create", "3.17"),
    ("mlock2", "4.4"),
    ("pidfd_getfd", "5.6"),
    ("pidfd_open", "5.3"),
    ("pidfd_send_signal", "5.1"),
    ("pkey_alloc", "4.9"),
    ("preadv2", "4.6"),
    ("process_madvise", "5.10"),
    ("renameat2", "3.15"),
    ("statx", "4.11"),
];

/// What native code needs of a system.
#[derive(Debug, Clone, Serialize)]
pub struct Portability {
    /// The oldest glibc that has all; none if nothing needs one.
    #[serde(serialize_with = "as_text")]
    pub glibc: Option<Version>,
    /// The oldest Linux, by the files' notes.
    pub kernel: Option<String>,
    /// The level of x86-64, where a file says it.
    #[serde(serialize_with = "as_text")]
    pub processor: Option<Processor>,
    /// The files with native code; those that need the newest glibc come first.
    pub members: Vec<Member>,
}

/// What a file needs.
#[derive(Debug, Clone, Serialize)]
pub struct Member {
    /// Its location, or the name of the executable itself.
    pub name: String,
    /// The project that brought it; none for the executable itself.
    pub project: Option<String>,
    /// The oldest glibc that has all that it needs.
    #[serde(serialize_with = "as_text")]
    pub glibc: Option<Version>,
    /// The symbols that only this version has.
    pub symbols: Vec<String>,
    /// The oldest Linux, by its note.
    pub kernel: Option<String>,
    /// The level of x86-64 that it is marked with.
    #[serde(serialize_with = "as_text")]
    pub processor: Option<Processor>,
    /// System calls that it may ask for, with the Linux that brought each.
    pub calls: BTreeMap<&'static str, &'static str>,
}

/// What an input's native code needs of a system. Reads all files that are not modules.
///
/// # Errors
///
/// If it is nothing that pyox makes, or a file cannot be read or is damaged.
pub fn portability(input: &Input<'_>) -> Result<Portability> {
    let (contents, mut members) = (input.contents()?, Vec::new());
    let mut machine = None;
    if let Subject::Executable(found) = input.subject()? {
        machine = Some(found.elf.machine);
        let whole = pyox_runner::expanded(&input.bytes)?;
        let needs = Needs::of(&whole).fault(&input.name)?;
        members.push(Member::of(input.name.clone(), None, &needs));
    }
    for resource in contents.resources.iter().filter(|resource| resource.may_be_native()) {
        let Some(bytes) = contents.file(resource)?.filter(|bytes| pyox_elf::is_elf(bytes)) else {
            continue;
        };
        // A file that no loader would take, such as one for another system, needs nothing of this one.
        let is_for_it = |elf: &Elf| machine.is_none_or(|machine| machine == elf.machine);
        if Elf::parse(&bytes).is_ok_and(|elf| is_for_it(&elf))
            && let Ok(needs) = Needs::of(&bytes)
        {
            members.push(Member::of(resource.path(), Some(resource.project.clone()), &needs));
        }
    }
    members.sort_by(|a, b| b.glibc.cmp(&a.glibc).then_with(|| a.name.cmp(&b.name)));
    let kernels = members.iter().filter_map(|member| member.kernel.as_ref());
    Ok(Portability {
        glibc: members.iter().filter_map(|member| member.glibc).max(),
        kernel: kernels.max_by_key(|kernel| numbers(kernel)).cloned(),
        processor: members.iter().filter_map(|member| member.processor).max(),
        members,
    })
}

impl Member {
    /// Whether it needs anything of a system.
    #[must_use]
    pub fn needs_something(&self) -> bool {
        self.glibc.is_some() || self.processor.is_some() || !self.calls.is_empty()
    }

    fn of(name: String, project: Option<String>, needs: &Needs) -> Self {
        let glibc = needs.glibc();
        let newest = |need: &&Need| !need.is_weak && glibc.is_some() && need.glibc() == glibc;
        let symbols = needs.versions.iter().filter(newest).flat_map(|need| &need.symbols).cloned();
        let all = || needs.versions.iter().flat_map(|need| &need.symbols);
        let calls = CALLS.into_iter().filter(|(call, _)| all().any(|symbol| symbol == call));
        Self {
            name,
            project,
            glibc,
            symbols: symbols.collect(),
            kernel: needs.kernel.clone(),
            processor: needs.processor,
            calls: calls.collect(),
        }
    }
}

/// A version as its numbers.
fn numbers(version: &str) -> Vec<u32> {
    version.split('.').map(|part| part.parse().unwrap_or(0)).collect()
}

// What serde passes.
#[allow(clippy::ref_option)]
fn as_text<T: ToString, S: Serializer>(value: &Option<T>, to: S) -> Result<S::Ok, S::Error> {
    value.as_ref().map(T::to_string).serialize(to)
}
