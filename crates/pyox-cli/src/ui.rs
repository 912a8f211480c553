//! A tool's `main`, and what it says on stderr while it works.

use std::fmt::Display;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use clap::{Args, Parser, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};

use crate::{Fault, Result};

/// The options that every tool has.
#[derive(Debug, Clone, Default, Args)]
pub struct Common {
    /// Say nothing but errors
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// Say more; twice says most
    #[arg(short, long, action = clap::ArgAction::Count, global = true)]
    pub verbose: u8,
    /// Colour in what goes to stderr
    #[arg(long, value_name = "WHEN", default_value = "auto", global = true)]
    pub color: Color,
}

/// When to use colour.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// On a terminal, unless `NO_COLOR` is set.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// What a tool that ran without an error answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// Done, or yes: exit status 0.
    Done,
    /// A question was answered with no: exit status 1.
    No,
}

/// Where a tool talks to its user: stderr.
#[derive(Debug, Clone)]
pub struct Ui {
    tool: &'static str,
    quiet: bool,
    verbose: u8,
    color: bool,
}

/// A tool's `main`.
///
/// `common` finds the common options in the parsed command line, `body` does the work.
pub fn run<A: Parser>(
    tool: &'static str,
    common: fn(&A) -> &Common,
    body: impl FnOnce(&A, &Ui) -> Result<Answer>,
) -> ExitCode {
    let args = A::parse();
    let ui = Ui::new(tool, common(&args));
    match body(&args, &ui) {
        Ok(Answer::Done) => ExitCode::SUCCESS,
        Ok(Answer::No) => ExitCode::from(1),
        // The reader of a pipe has seen enough (`pyox-inspect list | head`): not an error.
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            ui.error(&error);
            ExitCode::from(2)
        }
    }
}

impl Ui {
    /// A tool's user interface, as its common options want it.
    #[must_use]
    pub fn new(tool: &'static str, common: &Common) -> Self {
        let color = match common.color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => {
                io::stderr().is_terminal()
                    && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
            }
        };
        Self { tool, quiet: common.quiet, verbose: common.verbose, color }
    }

    /// The tool's name.
    #[must_use]
    pub fn tool(&self) -> &'static str {
        self.tool
    }

    /// Something that the user may want to act on.
    pub fn warn(&self, text: impl Display) {
        if !self.quiet {
            self.line("33", "warning", &text);
        }
    }

    /// Something that the user would want to know.
    pub fn note(&self, text: impl Display) {
        if !self.quiet {
            self.line("36", "note", &text);
        }
    }

    /// A way out that belongs to the line before.
    pub fn hint(&self, text: impl Display) {
        if !self.quiet {
            self.line("32", "hint", &text);
        }
    }

    /// Something for those who asked for more with `-v`.
    pub fn detail(&self, text: impl Display) {
        if self.verbose > 0 {
            self.line("2", "detail", &text);
        }
    }

    /// Whether `-v` was given.
    #[must_use]
    pub fn is_verbose(&self) -> bool {
        self.verbose > 0
    }

    /// A progress bar over `len` steps (0: an unknown number); hidden unless stderr is a terminal.
    #[must_use]
    pub fn progress(&self, len: u64, what: &str) -> ProgressBar {
        if self.quiet || !io::stderr().is_terminal() {
            return ProgressBar::hidden();
        }
        let (bar, template) = match len {
            0 => (ProgressBar::new_spinner(), "{prefix}: {msg} {spinner}"),
            _ => (ProgressBar::new(len), "{prefix}: {msg} {bar:30} {pos}/{len}"),
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.with_prefix(self.tool).with_message(what.to_owned())
    }

    fn error(&self, error: &anyhow::Error) {
        self.line("31", "error", &format_args!("{error:#}"));
        // Hints survive `--quiet`: they are part of the error.
        for fault in error.chain().filter_map(|cause| cause.downcast_ref::<Fault>()) {
            if let Some(hint) = fault.way_out() {
                self.line("32", "hint", &hint);
            }
        }
    }

    fn line(&self, color: &str, label: &str, text: &dyn Display) {
        let (start, end) = if self.color { ("\x1b[", "\x1b[0m") } else { ("", "") };
        let code = if self.color { format!("{color}m") } else { String::new() };
        // One write: lines of several tools in a pipe do not mix. A closed stderr is no reason to stop.
        let line = format!("{}: {start}{code}{label}{end}: {text}\n", self.tool);
        let _ = io::stderr().write_all(line.as_bytes());
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == io::ErrorKind::BrokenPipe)
    })
}
