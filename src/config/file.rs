//! From the text of a file to [`Settings`].

use super::acme;
use super::buffering;
use super::cache;
use super::check;
use super::hooks;
use super::keys::TOP;
use super::listeners;
use super::presets;
use super::problem::{Problem, Report, place};
use super::resolver;
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

/// Reads and checks a config file.
///
/// # Errors
/// Every problem found, in the order of the file; never empty.
pub fn load(path: &Path) -> Result<Settings, Vec<Problem>> {
    parse(&read_text(path)?, path)
}

pub(super) fn read_text(path: &Path) -> Result<String, Vec<Problem>> {
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
                io::ErrorKind::NotFound => "write the path of a file that is there",
                io::ErrorKind::PermissionDenied => "let the user of switchd read the file",
                _ => "write the path of a TOML file",
            },
        )
    })?;
    match String::from_utf8(bytes) {
        Ok(text) => Ok(text),
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
    let mut tree = tree.into_inner();
    let presets = presets::named(&tree, &report);
    for preset in &presets {
        preset.lay_under(&mut tree);
    }
    let settings = readable.then(|| settings(&report, &tree)).flatten();
    let problems = report.into_problems(file);
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
    let acme = acme::read(&top);
    let listeners = listeners::read(&top);
    acme::together(&top, &acme, &listeners);
    let (written_listeners, listeners): (Vec<_>, Vec<_>) = listeners.into_iter().unzip();
    let written = top.named("service");
    let names: Vec<&str> = written.iter().map(|named| named.name).collect();
    let admin = sections::admin(&top, &names);
    let limits = sections::limits(&top);
    let services: Vec<WrittenService> = written
        .iter()
        .filter_map(|named| service::read(named, &limits))
        .collect();
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
    check::together(report, &written_listeners, &services, &admin);
    let complete: Vec<_> = services
        .iter()
        .filter_map(|written| written.service.clone())
        .collect();
    let state = sections::state(&top);
    let settings = Settings {
        runtime: sections::runtime(&top),
        admin: admin.settings,
        admin_api: admin.api.settings,
        hooks: hooks::read(&top, &names),
        acme,
        spool: buffering::spooling(&top, &state.dir),
        resolver: resolver::read(&top),
        state,
        log: sections::log(&top),
        access_log: sections::access_log(&top),
        limits,
        cache: cache::room(&top),
        stop: sections::stop(&top),
        trusted_proxies: sections::trusted_proxies(&top),
        listeners,
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

#[cfg(test)]
mod tests {
    use super::super::documented::{uncommented, with_examples};
    use super::super::explain::explain_text;
    use super::super::problem::{MOST_PROBLEMS, Place};
    use super::super::settings::HostPattern;
    use super::super::{Change, format_duration, summary};
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;
    use std::time::Duration;

    const ODOO: &str = include_str!("../../config/examples/odoo.toml");

    const TWO_SLOTS: &str = r#"
[[listener]]
address = "127.0.0.1:0"
[service.web.slots.zulu]
ws = ["127.0.0.1:3001"]
http = ["127.0.0.1:3000"]
[service.web.slots.alpha]
http = ["unix:/run/alpha.sock"]
ws = ["alpha:3001"]
[[service.web.route]]
prefix = "/"
upgrades_only = true
to = "ws"
"#;

    fn read(text: &str) -> Settings {
        parse(text, Path::new("switchd.toml"))
            .unwrap_or_else(|problems| panic!("{}", summary(&problems)))
    }

    #[test]
    fn the_file_decides_the_order_and_http_comes_first() {
        let settings = read(TWO_SLOTS);
        let service = &settings.services[0];
        let names: Vec<_> = service.slots.iter().map(|s| s.name.as_str()).collect();
        assert_eq!(names, ["zulu", "alpha"]);
        assert_eq!(service.initial.as_str(), "zulu");
        assert_eq!(service.hosts, [HostPattern::Any]);
        for slot in &service.slots {
            let members: Vec<_> = slot.members.iter().map(|m| m.name.as_str()).collect();
            assert_eq!(members, ["http", "ws"]);
        }
        assert!(service.routes[0].upgrades_only);
    }

    #[test]
    fn a_member_inherits_the_check_and_changes_its_part() {
        let text = TWO_SLOTS.to_owned()
            + r#"
[service.web.health]
path = "/up"
rise = 4
interval = "100ms"
[service.web.health.ws]
rise = 1
"#;
        for slot in &read(&text).services[0].slots {
            let [http, ws] = &slot.members[..] else {
                panic!("two members")
            };
            assert_eq!((http.health.rise, ws.health.rise), (4, 1));
            assert_eq!((&*http.health.path, &*ws.health.path), ("/up", "/up"));
            assert_eq!(http.health.fast_interval, Duration::from_millis(100));
        }
    }

    #[test]
    fn a_kind_without_a_budget_has_the_common_one() {
        let text = TWO_SLOTS.to_owned()
            + r#"
[service.web.flip]
drain_timeout = "7s"
drain_websockets = "1m"
"#;
        let flip = &read(&text).services[0].flip;
        assert_eq!(format_duration(flip.drain_requests), "7s");
        assert_eq!(format_duration(flip.drain_transfers), "7s");
        assert_eq!(format_duration(flip.drain_websockets), "1m");
    }

    #[test]
    fn odoo_is_spoken_to_as_it_needs() {
        let settings = read(ODOO);
        let service = &settings.services[0];
        assert!(!service.keepalive.of(None).enabled);
        assert_eq!(service.timeouts.first_byte, Duration::from_mins(12));
        assert_eq!(service.slots[0].members[0].health.path, "/web/health");
        assert_eq!(service.slots[0].members[1].health.path, "/websocket/health");
    }

    #[test]
    fn a_secret_comes_from_where_it_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("token");
        std::fs::write(&file, "from a file\n").unwrap();
        let text = format!(
            r#"{TWO_SLOTS}
[service.web.health.headers]
A = "written here"
B = {{ file = "{}" }}
C = {{ env = "PATH" }}
"#,
            file.display()
        );
        let settings = read(&text);
        let headers = &settings.services[0].slots[0].members[0].health.headers;
        let value = |name: &str| {
            let (_, secret) = headers.iter().find(|(header, _)| header == name).unwrap();
            secret.reveal()
        };
        assert_eq!(value("a"), "written here");
        assert_eq!(value("b"), "from a file");
        assert_eq!(value("c"), std::env::var("PATH").unwrap());
        let shown = format!("{settings:?}");
        assert!(!shown.contains("written here") && !shown.contains("from a file"));
    }

    #[test]
    fn no_problem_shows_a_secret() {
        for line in [
            r#"X-A = "hunter2\n""#,
            r#"X-A = { file = "/", value = "hunter2" }"#,
            r#"X-A = ["hunter2"]"#,
            "X-A = \"hunter2\"\nx-a = \"hunter2\"",
            r#"X-A = "hunter2"#,
            r#""X A" = "hunter2""#,
            r#"Host = "hunter2""#,
            "X-A = hunter2",
            "X-A = \"hunter2\"\nX-A = \"hunter2\"",
        ] {
            let text = format!("{TWO_SLOTS}[service.web.health.headers]\n{line}\n");
            let problems = parse(&text, Path::new("switchd.toml")).unwrap_err();
            assert!(!summary(&problems).contains("hunter"), "{problems:?}");
        }
    }

    #[test]
    fn a_byte_order_mark_and_returns_change_nothing() {
        let text = format!("\u{feff}{}", ODOO.replace('\n', "\r\n"));
        assert_eq!(read(&text), read(ODOO));
        let broken = text.replace("workers = 8", "worker = 8");
        let problems = parse(&broken, Path::new("switchd.toml")).unwrap_err();
        let line = 1 + ODOO.lines().position(|line| line == "workers = 8").unwrap();
        assert_eq!(problems[0].place, Some(Place { line, column: 1 }));
    }

    #[test]
    fn thousands_of_problems_are_told_in_a_few() {
        let text: String = (0..5000)
            .flat_map(|number| ["k".to_owned(), number.to_string(), " = 1\n".to_owned()])
            .collect();
        let problems = parse(&text, Path::new("switchd.toml")).unwrap_err();
        assert_eq!(problems.len(), MOST_PROBLEMS + 1);
        assert_eq!(
            problems.last().unwrap().what,
            "from here on there are 4902 more problems"
        );
    }

    #[test]
    fn what_is_no_text_is_told_with_its_place() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("switchd.toml");
        std::fs::write(&file, b"# fine\n# \xff").unwrap();
        let problems = load(&file).unwrap_err();
        assert_eq!(problems[0].place, Some(Place { line: 2, column: 3 }));
        assert_eq!(problems[0].what, "this is not UTF-8");
        std::fs::write(&file, vec![b'#'; 5 << 20]).unwrap();
        assert!(
            load(&file).unwrap_err()[0]
                .what
                .contains("larger than 4MiB")
        );
    }

    #[test]
    fn deep_nesting_is_refused_and_harmless() {
        for text in [
            format!("a = {}", "[".repeat(20_000)),
            format!("a{} = 1", ".a".repeat(20_000)),
            format!("a = {}", "{ a = ".repeat(20_000)),
        ] {
            assert!(parse(&text, Path::new("switchd.toml")).is_err());
        }
    }

    /// What must hold for any text at all.
    fn holds(text: &str) {
        match parse(text, Path::new("switchd.toml")) {
            Ok(settings) => {
                let again = parse(text, Path::new("switchd.toml")).unwrap();
                assert_eq!(settings, again);
                assert!(Change::between(&settings, &again).is_empty());
                let explained = explain_text(text, Path::new("switchd.toml")).unwrap();
                let meant = parse(&explained, Path::new("explained"));
                assert!(meant.as_ref() == Ok(&settings), "{meant:?}\n{explained}");
            }
            Err(problems) => {
                assert!(!problems.is_empty());
                let lines = text.lines().count();
                for problem in problems {
                    let place = problem.place.expect("a text has places");
                    assert!(place.line <= lines + 1, "{problem}");
                    assert!(!problem.what.is_empty() && !problem.help.is_empty());
                    assert_eq!(problem.to_string().lines().count(), 2, "{problem}");
                }
            }
        }
    }

    /// One slip of an editor.
    #[derive(Debug, Clone)]
    enum Slip {
        Drop(usize),
        Double(usize),
        Swap(usize, usize),
        Insert(usize, String),
        Cut(usize, usize),
    }

    fn slip() -> impl Strategy<Value = Slip> {
        let piece = prop_oneof![
            prop::sample::select(vec![
                "\"",
                "[",
                "]]\n",
                " = ",
                "#",
                "\n",
                "0",
                "\0",
                "'''",
                "\r",
                "-",
                ".",
                "{ env = \"\" }"
            ])
            .prop_map(str::to_owned),
            "\\PC{0,6}",
        ];
        prop_oneof![
            any::<usize>().prop_map(Slip::Drop),
            any::<usize>().prop_map(Slip::Double),
            (any::<usize>(), any::<usize>()).prop_map(|(a, b)| Slip::Swap(a, b)),
            (any::<usize>(), piece).prop_map(|(at, piece)| Slip::Insert(at, piece)),
            (any::<usize>(), 1usize..40).prop_map(|(at, length)| Slip::Cut(at, length)),
        ]
    }

    fn slipped(text: &str, slip: &Slip) -> String {
        let mut lines: Vec<&str> = text.split('\n').collect();
        let mut letters: Vec<char> = text.chars().collect();
        let (line, letter) = (lines.len(), letters.len() + 1);
        match slip {
            Slip::Drop(at) => {
                lines.remove(at % line);
            }
            Slip::Double(at) => lines.insert(at % line, lines[at % line]),
            Slip::Swap(a, b) => lines.swap(a % line, b % line),
            Slip::Insert(at, piece) => {
                let at = at % letter;
                letters.splice(at..at, piece.chars());
                return letters.into_iter().collect();
            }
            Slip::Cut(at, length) => {
                let at = at % letter;
                letters.drain(at..(at + length).min(letter - 1));
                return letters.into_iter().collect();
            }
        }
        lines.join("\n")
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(400))]

        #[test]
        fn no_slip_breaks_the_reader(slips in vec(slip(), 1..6), documented in any::<bool>()) {
            let base = if documented { uncommented() } else { ODOO.to_owned() };
            holds(&slips.iter().fold(base, |text, slip| slipped(&text, slip)));
        }

        #[test]
        fn no_text_breaks_the_reader(text in "\\PC{0,200}") {
            holds(&text);
        }
    }

    #[test]
    fn an_unknown_key_is_told_wherever_it_stands() {
        let text = with_examples();
        let lines: Vec<&str> = text.lines().collect();
        let mut tried = 0;
        for (number, line) in lines.iter().enumerate() {
            let is_key = !line.starts_with('#') && line.contains(" = ");
            // Members are named by the operator.
            if !is_key || line.starts_with("http = ") || line.starts_with("websocket = ") {
                continue;
            }
            let unknown = format!("zz_{line}");
            let mut changed = lines.clone();
            changed[number] = &unknown;
            let Err(problems) = parse(&changed.join("\n"), Path::new("switchd.toml")) else {
                panic!("{unknown} was taken");
            };
            let told = |problem: &Problem| problem.place.is_some_and(|p| p.line == number + 1);
            assert!(problems.iter().any(told), "{}", summary(&problems));
            tried += 1;
        }
        assert!(tried > 60, "tried only {tried} keys");
    }
}
