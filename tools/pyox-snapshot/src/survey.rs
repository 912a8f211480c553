//! Which modules an image can hold: what their imports ask of the process decides.
//!
//! A recorded process imports the modules that are wanted and tells what each import has asked (`docs/formats/snapshot.md`).
//! A module that asks for more than variables of the environment is left out, with all that import it. The survey is made
//! again without these, until nothing is left out any more: only then it has seen what an image would hold.

use std::collections::{BTreeMap, BTreeSet};

use pyox_blob::snapshot::{FILE, NATIVE, RESOLVES, VARIABLE};
use pyox_stage::{Fault, Kind, Reporter, Result};
use serde::Deserialize;
use serde_json::json;

use crate::recorder::Recorder;
use crate::renewals::{RENEWALS, Renewal};
use crate::{Level, Options, stdlib};

/// No application needs more surveys; each leaves out more.
const MOST_SURVEYS: usize = 12;

/// Variables that most processes have: an image that must do without would hardly ever be used.
const COMMON: [&str; 34] = [
    "COLORTERM",
    "COLUMNS",
    "DBUS_SESSION_BUS_ADDRESS",
    "DISPLAY",
    "EDITOR",
    "HOME",
    "HOSTNAME",
    "LANG",
    "LANGUAGE",
    "LESS",
    "LINES",
    "LOGNAME",
    "LS_COLORS",
    "MAIL",
    "OLDPWD",
    "PAGER",
    "PATH",
    "PWD",
    "SHELL",
    "SHLVL",
    "SSH_AUTH_SOCK",
    "SSH_CLIENT",
    "SSH_CONNECTION",
    "SSH_TTY",
    "TERM",
    "TERM_PROGRAM",
    "TMPDIR",
    "TZ",
    "USER",
    "VISUAL",
    "WAYLAND_DISPLAY",
    "XAUTHORITY",
    "XDG_DATA_DIRS",
    "XDG_RUNTIME_DIR",
];

/// What an image is to hold, and what must be so where it is used.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    preload: Vec<String>,
    /// What is imported then, in the order in which that ends.
    loaded: Vec<String>,
    /// Modules that are left out, with the reason.
    refused: BTreeMap<String, Why>,
    /// Variables that must not be in the environment.
    guards: BTreeSet<String>,
    /// Names in modules that each process computes anew.
    renewals: Vec<&'static Renewal>,
    /// Whether the executable's path must lead there without links.
    has_no_links: bool,
}

/// Why a module is left out.
#[derive(Debug, Clone)]
struct Why {
    /// For whoever makes the snapshot.
    told: String,
    /// For the snapshot itself, in which no path of this machine stands.
    kept: String,
}

impl Why {
    fn plain(text: impl Into<String>) -> Self {
        let told = text.into();
        Self { kept: told.clone(), told }
    }

    /// Because of another module.
    fn of_import(&self, name: &str) -> Self {
        let of = |why: &str| format!("it imports {name}: {why}");
        Self { told: of(&self.told), kept: of(&self.kept) }
    }
}

/// What a survey tells.
#[derive(Debug, Deserialize)]
struct Survey {
    /// The modules that were asked for.
    names: Vec<String>,
    modules: Vec<Module>,
    /// Those whose import has failed, with the error.
    failed: BTreeMap<String, String>,
}

/// A module that was imported.
#[derive(Debug, Deserialize)]
struct Module {
    name: String,
    /// Whether it is of the standard library.
    standard: bool,
    /// Pairs of words and of what they are about.
    asked: Vec<(String, String)>,
    /// What it has imported, directly.
    needs: Vec<String>,
    /// Names in it that can be renewed.
    renewed: Vec<String>,
}

/// The image that is wanted, as far as it can be had, and what it holds.
pub(crate) fn image(recorder: &Recorder<'_>, options: &Options) -> Result<(Plan, Vec<u8>)> {
    // What no survey shows: the memory of these modules does not fit into an image.
    let mut unfit = BTreeMap::new();
    loop {
        let plan = Plan::new(recorder, options, &unfit)?;
        let fault = match recorder.image(&plan.request(options)) {
            Ok(image) => return Ok((plan, image)),
            Err(fault) => fault,
        };
        let Some(why) = unfit_for(&fault) else { return Err(fault) };
        // In the order in which imports ended, each module comes behind what it imports, unless they import each other.
        let found = match culprit(recorder, options, &plan.loaded) {
            Ok(Some(name)) => Some(name),
            Ok(None) | Err(_) => culprit(recorder, options, &plan.preload)?,
        };
        let Some(name) = found else {
            let what = format!("it cannot have a snapshot: {why}");
            return Err(recorder.fault(what));
        };
        if options.preload.contains(name) {
            let what = format!("{name}: {why}");
            return Err(Fault::new("--preload", what).of_kind(Kind::Unsupported));
        }
        unfit.insert(name.clone(), why);
    }
}

/// The first of some modules with which the memory of a process does not fit into an image. None if it fits with all of them.
fn culprit<'a>(
    recorder: &Recorder<'_>,
    options: &Options,
    modules: &'a [String],
) -> Result<Option<&'a String>> {
    let fits = |count: usize| {
        let some = Plan { preload: modules[..count].to_vec(), ..Plan::default() };
        match recorder.run(&some.request(options)) {
            Ok(_) => Ok(true),
            Err(fault) if unfit_for(&fault).is_some() => Ok(false),
            Err(fault) => Err(fault),
        }
    };
    let (mut good, mut bad) = (0, modules.len());
    if fits(bad)? {
        return Ok(None);
    }
    while bad - good > 1 {
        let middle = usize::midpoint(good, bad);
        if fits(middle)? {
            good = middle;
        } else {
            bad = middle;
        }
    }
    Ok(modules.get(good))
}

/// Why a process says that its memory does not fit into an image.
fn unfit_for(fault: &Fault) -> Option<String> {
    Some(fault.to_string().split_once("unfit: ")?.1.to_owned())
}

impl Plan {
    /// Decides, by as many surveys as it takes.
    fn new(
        recorder: &Recorder<'_>,
        options: &Options,
        unfit: &BTreeMap<String, String>,
    ) -> Result<Self> {
        let profile = options.profile.as_ref().map(|profile| profile.modules.as_slice());
        let is_empty = options.preload.is_empty() && profile.is_none();
        if options.level == Level::Interpreter || options.level == Level::Stdlib && is_empty {
            return Ok(Self::default());
        }
        let mut names: Vec<String> = options.preload.clone();
        names.extend(profile.unwrap_or_default().iter().cloned());
        let mut plan = Self::default();
        for number in 0..MOST_SURVEYS {
            let wants_start =
                number == 0 && profile.is_none() && options.level == Level::Application;
            let survey = Survey::take(recorder, options, &names, wants_start)?;
            let before = plan.refused.len();
            survey.judge(options, unfit, &mut plan)?;
            let loaded = survey.modules.into_iter().filter(|module| !module.standard);
            plan.loaded = loaded.map(|module| module.name).collect();
            names = survey.names;
            names.retain(|name| !plan.refused.contains_key(name));
            if plan.refused.len() == before {
                plan.preload = names;
                return Ok(plan);
            }
            if names.is_empty() {
                break;
            }
        }
        Ok(Self { refused: plan.refused, ..Self::default() })
    }

    pub(crate) fn tell(&self, reporter: &dyn Reporter) {
        for (name, why) in &self.refused {
            reporter.detail(format_args!("not preloaded: {name}: {}", why.told));
        }
        for name in &self.guards {
            reporter.detail(format_args!("starts as ever where the environment has {name}"));
        }
    }

    /// What the process reads that takes the image.
    pub(crate) fn request(&self, options: &Options) -> String {
        let mut lines = request(options.level, &self.preload);
        let known = stdlib::REFUSED.iter().map(|(name, _)| *name);
        let known = known.filter(|name| !self.refused.contains_key(*name));
        lines.extend(
            known
                .chain(self.refused.keys().map(String::as_str))
                .map(|name| format!("refuse {name}")),
        );
        lines.extend(self.guards.iter().map(|name| format!("guard {name}")));
        lines.extend(self.renewals.iter().map(|renewal| renewal.line()));
        if self.has_no_links {
            lines.push("guard-links".to_owned());
        }
        if options.level != Level::Interpreter {
            let refused: BTreeMap<_, _> =
                self.refused.iter().map(|(name, why)| (name, &why.kept)).collect();
            let facts = json!({
                "guards": self.guards,
                "no-links": self.has_no_links,
                "refused": refused,
            });
            let facts = facts.to_string();
            // Its members stand among others.
            lines.push(format!("facts {},", &facts[1..facts.len() - 1]));
        }
        lines.extend(options.fixed_hash_seed.map(|seed| format!("fixed-hash-seed {seed}")));
        text(&lines)
    }
}

impl Survey {
    fn take(
        recorder: &Recorder<'_>,
        options: &Options,
        names: &[String],
        wants_start: bool,
    ) -> Result<Self> {
        let mut lines = request(options.level, names);
        lines.extend(wants_start.then(|| "start".to_owned()));
        lines.push("survey".to_owned());
        lines.extend(RENEWALS.iter().map(Renewal::line));
        let answer = recorder.run(&text(&lines))?;
        let answer = recorder.named(&String::from_utf8_lossy(&answer));
        serde_json::from_str(&answer).map_err(|error| {
            Fault::new("survey", "expected a report, got something else")
                .hint("is it an executable of this pyox?")
                .caused_by(error)
        })
    }

    /// Adds to what is left out, and gathers the guards for the rest.
    fn judge(
        &self,
        options: &Options,
        unfit: &BTreeMap<String, String>,
        plan: &mut Plan,
    ) -> Result<()> {
        plan.guards.clear();
        plan.renewals.clear();
        plan.has_no_links = false;
        // The modules that are to be left out for their own sake.
        let mut roots: BTreeMap<&str, Why> = BTreeMap::new();
        for module in &self.modules {
            let reasons = module.reasons(options, plan);
            let reasons = reasons.into_iter().chain(unfit.get(&module.name).map(Why::plain));
            if let Some(reason) = reasons.into_iter().next() {
                roots.insert(&module.name, reason);
            }
        }
        for name in &options.preload {
            if let Some((_, why)) = stdlib::REFUSED.iter().find(|(refused, _)| refused == name) {
                let what = format!("{name}: {why}");
                return Err(Fault::new("--preload", what).of_kind(Kind::Unsupported));
            }
            if let Some(error) = self.failed.get(name) {
                return Err(Fault::new("--preload", format!("{name}: {error}")));
            }
            if !self.names.contains(name) {
                let what = format!("{name}: it is not of the standard library");
                return Err(Fault::new("--preload", what).hint("the level `application` takes it"));
            }
        }
        let refused = self.spread(&roots);
        for name in &options.preload {
            if let Some(why) = refused.get(name.as_str()) {
                let what = format!("{name}: {}", why.told);
                return Err(Fault::new("--preload", what).of_kind(Kind::Unsupported));
            }
        }
        plan.refused.extend(refused.into_iter().map(|(name, why)| (name.to_owned(), why)));
        for name in &self.names {
            if let Some(error) = self.failed.get(name) {
                let why = || {
                    let of = |error: &str| format!("it cannot be imported by itself: {error}");
                    let class = error.split(':').next().unwrap_or_default();
                    Why { told: of(error), kept: of(class) }
                };
                plan.refused.entry(name.clone()).or_insert_with(why);
            }
        }
        Ok(())
    }

    /// The modules that are to be left out, and all that import them, with the reason.
    fn spread<'a>(&'a self, roots: &BTreeMap<&'a str, Why>) -> BTreeMap<&'a str, Why> {
        let mut importers: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for module in &self.modules {
            for needed in &module.needs {
                importers.entry(needed).or_default().push(&module.name);
            }
            // Without the package there is no module in it.
            if let Some((package, _)) = module.name.rsplit_once('.') {
                importers.entry(package).or_default().push(&module.name);
            }
        }
        let mut refused: BTreeMap<&str, Why> = BTreeMap::new();
        for (root, why) in roots {
            refused.insert(root, why.clone());
        }
        for (root, why) in roots {
            let mut left = vec![*root];
            while let Some(name) = left.pop() {
                for importer in importers.get(name).into_iter().flatten() {
                    if !refused.contains_key(importer) {
                        refused.insert(importer, why.of_import(root));
                        left.push(importer);
                    }
                }
            }
        }
        refused
    }
}

impl Module {
    /// Why it is to be left out for its own sake; notes what its image would need otherwise.
    fn reasons(&self, options: &Options, plan: &mut Plan) -> Vec<Why> {
        if options.no_preload.contains(&self.name) {
            return vec![Why::plain("--no-preload")];
        }
        if self.standard {
            // Known one by one, but for variables that are seldom there.
            let read = self.asked.iter().filter(|(what, _)| what == VARIABLE).map(|(_, of)| of);
            let harmful = read.filter(|of| !stdlib::HARMLESS.contains(&of.as_str()));
            plan.guards.extend(harmful.cloned());
            let known = stdlib::REFUSED.iter().filter(|(name, _)| *name == self.name);
            let known = known.map(|(_, why)| Why::plain(*why));
            let native = self.asked.iter().filter(|(what, _)| what == NATIVE);
            let native = native.map(|(what, of)| Why::plain(format!("it {what} {of}")));
            return known.chain(native).collect();
        }
        let mut reasons = Vec::new();
        let renewals = RENEWALS.iter().filter(|renewal| renewal.module == self.name);
        let renewals: Vec<_> = renewals
            .filter(|renewal| self.renewed.iter().any(|name| name == renewal.name))
            .collect();
        for (what, of) in &self.asked {
            match what.as_str() {
                what if renewals.iter().any(|renewal| renewal.asks == what) => {}
                VARIABLE if !is_common(of) => {
                    plan.guards.insert(of.clone());
                }
                RESOLVES => plan.has_no_links = true,
                _ if of.is_empty() => reasons.push(Why::plain(format!("it {what}"))),
                FILE => reasons.push(Why {
                    told: format!("it {what} {of}"),
                    kept: "it looks at a file".to_owned(),
                }),
                _ => reasons.push(Why::plain(format!("it {what} {of}"))),
            }
        }
        plan.renewals.extend(renewals);
        if options.preload.contains(&self.name) { Vec::new() } else { reasons }
    }
}

/// Whether a guard for a variable would hardly ever hold. One without a name, or with letters that a request cannot have,
/// is as bad.
fn is_common(name: &str) -> bool {
    COMMON.contains(&name)
        || ["LC_", "XDG_SESSION_"].iter().any(|prefix| name.starts_with(prefix))
        || name.is_empty()
        || name.contains(['\n', '\0', '='])
}

/// The lines that each request has.
fn request(level: Level, preload: &[String]) -> Vec<String> {
    let preload = preload.iter().map(|name| format!("preload {name}"));
    [format!("level {}", level.name())].into_iter().chain(preload).collect()
}

fn text(lines: &[String]) -> String {
    lines.iter().flat_map(|line| [line.as_str(), "\n"]).collect()
}
