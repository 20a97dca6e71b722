//! From the text of a file to [`Settings`].

use super::check;
use super::keys::TOP;
use super::problem::{Place, Problem, Report, place};
use super::sections;
use super::service::{self, WrittenService};
use super::settings::Settings;
use super::table::Table;
use super::value::clip;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use toml::de::DeTable;

/// A config of a thousand services is a tenth of this; a wrong path must not fill the memory.
const LONGEST: u64 = 4 << 20;

/// Past this many, mending some first is the better plan.
const MOST_PROBLEMS: usize = 100;

/// Reads and checks a config file.
///
/// # Errors
/// Every problem found, in the order of the file; never empty.
pub fn load(path: &Path) -> Result<Settings, Vec<Problem>> {
    let whole = |what: String, help: &str| {
        vec![Problem {
            file: path.to_owned(),
            place: None,
            what,
            help: help.to_owned(),
        }]
    };
    let bytes = read(path).map_err(|error| {
        whole(
            format!("cannot read the config: {error}"),
            match error.kind() {
                io::ErrorKind::NotFound => "name the file with --config FILE",
                io::ErrorKind::PermissionDenied => "let the user of switchd read the file",
                _ => "name a TOML file with --config FILE",
            },
        )
    })?;
    match String::from_utf8(bytes) {
        Ok(text) => parse(&text, path),
        Err(error) => {
            let good = error.utf8_error().valid_up_to();
            let text = String::from_utf8_lossy(error.as_bytes());
            let mut problems = whole(
                "this is not UTF-8".to_owned(),
                "save the file as UTF-8, as TOML asks for",
            );
            for problem in &mut problems {
                problem.place = Some(place(&text, good));
            }
            Err(problems)
        }
    }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?
        .take(LONGEST + 1)
        .read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LONGEST {
        return Err(io::Error::other("it is larger than 4MiB"));
    }
    Ok(bytes)
}

/// Checks the text of a config; `file` is named in problems.
///
/// Files and environment variables that hold secrets are read.
///
/// # Errors
/// Every problem found, in the order of the file; never empty.
pub fn parse(text: &str, file: &Path) -> Result<Settings, Vec<Problem>> {
    let (tree, errors) = DeTable::parse_recoverable(text);
    let report = Report::new(text);
    // With a doubled key the rest is still what it seems to be; with broken syntax it is not.
    let readable = errors.iter().all(|error| error.message() == DUPLICATE_KEY);
    for error in &errors {
        let at = error.span().unwrap_or(text.len()..text.len());
        report.add(
            &at,
            syntax_words(error.message(), text.get(at.clone()).unwrap_or_default()),
            syntax_help(error.message()),
        );
    }
    let settings = readable
        .then(|| settings(&report, tree.get_ref()))
        .flatten();
    let problems = capped(report.into_problems(file));
    match (settings, problems.is_empty()) {
        (Some(settings), true) => Ok(settings),
        (None, true) => Err(vec![unexplained(file)]),
        (_, false) => Err(problems),
    }
}

/// What a service leaves out it has reported; this is the answer should a reader ever forget to.
fn unexplained(file: &Path) -> Problem {
    Problem {
        file: file.to_owned(),
        place: None,
        what: "the config is incomplete in a way that was not understood".to_owned(),
        help: "compare it with config/switchd.toml, which shows every key".to_owned(),
    }
}

fn settings<'t>(report: &'t Report<'t>, tree: &'t DeTable<'t>) -> Option<Settings> {
    let top = Table::top(&TOP, tree, report);
    let admin = sections::admin(&top);
    let listeners = sections::listeners(&top);
    let written = top.named("service");
    let services: Vec<WrittenService> = written.iter().filter_map(service::read).collect();
    if !top.has("listener") {
        report.add(
            &(0..0),
            "no listener: nothing would be served",
            "add [[listener]] and below it address = \"0.0.0.0:8080\"",
        );
    }
    if !top.has("service") || (top.is_table("service") && written.is_empty()) {
        report.add(
            &(0..0),
            "no service: there is nothing to send requests to",
            "add [service.NAME] with two slots; config/examples/minimal.toml is a start",
        );
    }
    check::together(report, &listeners, &services, &admin);
    let complete: Vec<_> = services
        .iter()
        .filter_map(|written| written.service.clone())
        .collect();
    let settings = Settings {
        runtime: sections::runtime(&top),
        admin,
        state: sections::state(&top),
        log: sections::log(&top),
        access_log: sections::access_log(&top),
        limits: sections::limits(&top),
        stop: sections::stop(&top),
        trusted_proxies: sections::trusted_proxies(&top),
        listeners: sections::plain(&listeners),
        services: complete,
    };
    (settings.services.len() == written.len()).then_some(settings)
}

const DUPLICATE_KEY: &str = "duplicate key";

fn syntax_words(message: &str, written: &str) -> String {
    match message {
        DUPLICATE_KEY => format!("`{}` is written twice", clip(written)),
        other => format!("this is not TOML: {other}"),
    }
}

fn syntax_help(message: &str) -> &'static str {
    if message == DUPLICATE_KEY {
        return "keep one of them, with all that belongs to it";
    }
    let hints = [
        (
            "string",
            "put texts and times in quotes, and close them: \"30s\"",
        ),
        (
            "quote",
            "put texts and times in quotes, and close them: \"30s\"",
        ),
        (
            "array table",
            "write [[name]] with two brackets on each side",
        ),
        ("table", "write [name] with a bracket on each side"),
        ("array", "write lists as [\"one\", \"two\"]"),
        ("value", "write key = \"text\", key = 3 or key = true"),
        ("key", "write key = \"text\", key = 3 or key = true"),
    ];
    hints
        .iter()
        .find(|(word, _)| message.contains(word))
        .map_or(
            "each line is [table], key = value, or a # comment",
            |(_, help)| help,
        )
}

fn capped(mut problems: Vec<Problem>) -> Vec<Problem> {
    let more = problems.len().saturating_sub(MOST_PROBLEMS);
    if more > 0 {
        problems.truncate(MOST_PROBLEMS);
        let last = problems.last().map(|last| (last.file.clone(), last.place));
        problems.extend(last.map(|(file, place): (_, Option<Place>)| Problem {
            file,
            place,
            what: format!("and {more} more problems from here on"),
            help: "mend those above first".to_owned(),
        }));
    }
    problems
}
