//! Where it runs, and who is the cause.

use pyox_inspect::{Member, Portability};

use super::text::{Align, Table, shown};

/// How many symbols are named for a member.
const SHOWN: usize = 3;

/// What all needs together, then a line for each member that needs something.
pub(crate) fn portability(found: &Portability, name: &str) -> String {
    let glibc = found.glibc.map(|version| format!("glibc {version}"));
    let kernel = found.kernel.as_ref().map(|version| format!("Linux {version}"));
    let processor = found.processor.map(|level| level.to_string());
    let needs: Vec<_> = [glibc, kernel, processor].into_iter().flatten().collect();
    let needs = if needs.is_empty() { "no C library".to_owned() } else { needs.join(", ") };
    let mut table = Table::new(&[Align::Left; 5]);
    for member in found.members.iter().filter(|member| member.needs_something()) {
        table.row([
            member.glibc.map_or_else(|| "-".to_owned(), |version| version.to_string()).into(),
            member.processor.map_or_else(|| "-".to_owned(), |level| level.to_string()).into(),
            member.project.as_deref().map_or("-".into(), shown),
            shown(&member.name),
            causes(member).into(),
        ]);
    }
    format!("{name}: needs {needs}\n{}", table.text("  "))
}

/// The symbols that need the newest glibc, and the kernel's newer calls.
fn causes(member: &Member) -> String {
    let mut named: Vec<_> = member.symbols.iter().take(SHOWN).cloned().collect();
    if let Some(more) = member.symbols.len().checked_sub(SHOWN).filter(|more| *more > 0) {
        named.push(format!("{more} more"));
    }
    let calls = member.calls.iter().map(|(call, linux)| format!("{call} (Linux {linux})"));
    let calls: Vec<_> = calls.collect();
    let calls = if calls.is_empty() { None } else { Some(format!("calls {}", calls.join(", "))) };
    let named = if named.is_empty() { None } else { Some(named.join(", ")) };
    [named, calls].into_iter().flatten().collect::<Vec<_>>().join("; ")
}
