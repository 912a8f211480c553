//! A tool's `main`, and what it says on stderr while it works.

use std::error::Error as _;
use std::fmt::{self, Display};
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};

use pyox_stage::{Fault, Message, Reporter, Result, Task, shown, shown_lines};

use crate::output::ReaderGone;
use crate::{cut, pages};

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
    body: impl FnOnce(&A, &dyn Reporter) -> Result<Answer>,
) -> ExitCode {
    let (result, ui) = if let Some(what) = pages::asked() {
        let done = pages::print(A::command(), &what).map(|()| Answer::Done);
        (done, Ui::new(tool, &Common::default()))
    } else {
        let args = A::parse();
        let ui = Ui::new(tool, common(&args));
        cut::is_told(tool);
        (body(&args, &ui), ui)
    };
    match result {
        Ok(Answer::Done) => ExitCode::SUCCESS,
        Ok(Answer::No) => ExitCode::from(1),
        Err(fault) if reader_is_gone(&fault) => ExitCode::SUCCESS,
        Err(fault) => {
            ui.error(&fault);
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

    fn error(&self, fault: &Fault) {
        self.line("31", "error", fault);
        // Hints survive `--quiet`: they are part of the error.
        if let Some(hint) = fault.way_out() {
            self.line("32", "hint", &hint);
        }
    }

    fn line(&self, color: &str, label: &str, text: &dyn Display) {
        let (start, end) = if self.color { ("\x1b[", "\x1b[0m") } else { ("", "") };
        let code = if self.color { format!("{color}m") } else { String::new() };
        // One write: lines of several tools in a pipe do not mix. A closed stderr is no reason to stop.
        let text = text.to_string();
        let text = shown_lines(&text);
        let line = format!("{}: {start}{code}{label}{end}: {text}\n", self.tool);
        let _ = io::stderr().write_all(line.as_bytes());
    }
}

impl Reporter for Ui {
    fn tell(&self, message: Message, text: fmt::Arguments<'_>) {
        let (color, label) = match message {
            Message::Warning => ("33", "warning"),
            Message::Note => ("36", "note"),
            Message::Hint => ("32", "hint"),
            _ => ("2", "detail"),
        };
        let is_shown = if message == Message::Detail { self.verbose > 0 } else { !self.quiet };
        if is_shown {
            self.line(color, label, &text);
        }
    }

    /// A progress bar; hidden unless stderr is a terminal.
    fn begin(&self, steps: Option<u64>, what: &str) -> Box<dyn Task> {
        if self.quiet || !io::stderr().is_terminal() {
            return Box::new(pyox_stage::Silent);
        }
        let (bar, template) = match steps {
            None => (ProgressBar::new_spinner(), "{prefix}: {msg} {spinner} {elapsed}"),
            Some(steps) => (ProgressBar::new(steps), "{prefix}: {msg} {bar:30} {percent}% {eta}"),
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(100));
        Box::new(Bar(bar.with_prefix(self.tool).with_message(what.to_owned())))
    }
}

/// A task as a bar, which goes when the task has ended.
struct Bar(ProgressBar);

impl Task for Bar {
    fn advance(&self, steps: u64) {
        self.0.inc(steps);
    }

    fn describe(&self, what: &str) {
        self.0.set_message(shown(what).into_owned());
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

fn reader_is_gone(fault: &Fault) -> bool {
    fault.source().is_some_and(<dyn std::error::Error>::is::<ReaderGone>)
}
