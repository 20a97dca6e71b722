//! Where words go: results to stdout, progress and complaints to stderr.

use super::args::{Color, Global};
use super::failure::{Exit, Failure};
use super::style::{Look, Paint, Style};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use std::io::{self, IsTerminal, Write};

/// Words for people or documents for programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Words,
    Json,
}

/// What is at the other end of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reader {
    Terminal,
    /// A file, a pipe, a log.
    Plain,
}

#[derive(Debug)]
pub(super) struct Output {
    pub(super) format: Format,
    pub(super) stdout: Reader,
    stderr: Reader,
    result: Style,
    progress: Style,
}

impl Output {
    pub(super) fn new(global: &Global) -> Self {
        let stdout = reader(io::stdout().is_terminal());
        let stderr = reader(io::stderr().is_terminal());
        let quiet = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let style = |reader| match (global.color, reader) {
            (Color::Always, _) => Style::Coloured,
            (Color::Auto, Reader::Terminal) if !quiet => Style::Coloured,
            _ => Style::Plain,
        };
        Self {
            format: if global.json {
                Format::Json
            } else {
                Format::Words
            },
            stdout,
            stderr,
            result: style(stdout),
            progress: style(stderr),
        }
    }

    /// How a result looks, now.
    pub(super) fn look(&self) -> Look {
        Look {
            style: self.result,
            now: Timestamp::now(),
            zone: TimeZone::system(),
        }
    }

    /// Puts `text` in place of the screen's contents.
    pub(super) fn repaint(&self, text: &str) -> Result<(), Failure> {
        print(&match self.stdout {
            Reader::Terminal => format!("\x1b[H\x1b[2J{text}"),
            Reader::Plain => format!("{text}\n\n"),
        })
    }

    pub(super) fn progress(&self) -> Progress {
        Progress {
            reader: self.stderr,
            style: self.progress,
            open: Line::None,
            last: String::new(),
        }
    }

    /// Says what went wrong, on stderr and (with `--json`) as a problem on stdout.
    pub(super) fn complain(&self, failure: &Failure) -> Exit {
        let exit = failure.exit();
        if exit == Exit::Done {
            return exit;
        }
        if let (Format::Json, Some(problem)) = (self.format, failure.problem())
            && let Ok(text) = serde_json::to_string(&problem)
        {
            // Nothing is left to do when stdout is gone: the exit code still tells.
            let _ = print(&text);
        }
        let paint = match exit {
            Exit::StillRunning => Paint::Notable,
            _ => Paint::Bad,
        };
        let name = self.progress.paint(paint, "switchctl:");
        let _ = writeln!(io::stderr(), "{name} {failure}");
        exit
    }
}

/// Writes a result to stdout, with exactly one line feed at its end.
pub(super) fn print(text: &str) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{}", text.trim_end_matches('\n'))
        .and_then(|()| stdout.flush())
        .map_err(Failure::Output)
}

fn reader(is_terminal: bool) -> Reader {
    if is_terminal {
        Reader::Terminal
    } else {
        Reader::Plain
    }
}

/// What is under way: one live line on a terminal, plain lines otherwise.
#[derive(Debug)]
pub(super) struct Progress {
    reader: Reader,
    style: Style,
    open: Line,
    last: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Line {
    None,
    Live,
}

impl Progress {
    /// Whether there is a line that the next one replaces.
    pub(super) fn is_live(&self) -> bool {
        self.reader == Reader::Terminal
    }

    /// A line that stays.
    pub(super) fn milestone(&mut self, paint: Paint, text: &str) {
        self.end();
        let _ = writeln!(io::stderr(), "{}", self.style.paint(paint, text));
    }

    /// A line that the next one replaces; on a plain stream it is written once, when it changes.
    pub(super) fn passing(&mut self, text: &str) {
        if self.last == text {
            return;
        }
        text.clone_into(&mut self.last);
        match self.reader {
            Reader::Terminal => {
                // Wrapping is switched off meanwhile, else a long line could not be taken back.
                let text = self.style.paint(Paint::Faint, text);
                let mut stderr = io::stderr().lock();
                let _ = write!(stderr, "\r\x1b[2K\x1b[?7l{text}\x1b[?7h");
                let _ = stderr.flush();
                self.open = Line::Live;
            }
            Reader::Plain => {
                let _ = writeln!(io::stderr(), "{text}");
            }
        }
    }

    /// Takes the live line back.
    pub(super) fn end(&mut self) {
        if self.open == Line::Live {
            let _ = write!(io::stderr(), "\r\x1b[2K");
            self.open = Line::None;
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.end();
    }
}
