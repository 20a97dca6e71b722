//! What the demo prints. Colours and the live line only on a terminal.

use super::Args;
use super::Colour;
use super::load::WEBSOCKETS;
use super::tally::Books;
use super::tally::Move;
use super::tally::Tally;
use std::io;
use std::io::IsTerminal;
use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;

const BOLD: &str = "1";
const DIM: &str = "2";
const RED: &str = "1;31";
const GREEN: &str = "1;32";
const BLUE: &str = "1;34";
const ERASE_LINE: &str = "\r\x1b[K";

pub(super) struct Screen {
    out: io::Stdout,
    is_terminal: bool,
    has_colours: bool,
}

impl Screen {
    pub(super) fn new() -> Self {
        let out = io::stdout();
        let is_terminal = out.is_terminal();
        let wants_none = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self {
            is_terminal,
            has_colours: is_terminal && !wants_none,
            out,
        }
    }

    fn paint(&self, style: &str, text: &str) -> String {
        if self.has_colours {
            format!("\x1b[{style}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }

    fn slot(&self, colour: Colour, width: usize) -> String {
        let style = match colour {
            Colour::Blue => BLUE,
            Colour::Green => GREEN,
        };
        self.paint(style, &format!("{colour:width$}"))
    }

    fn print(&mut self, text: &str) -> io::Result<()> {
        let erase = if self.is_terminal { ERASE_LINE } else { "" };
        writeln!(self.out, "{erase}{text}")?;
        self.out.flush()
    }

    pub(super) fn welcome(
        &mut self,
        proxy: SocketAddr,
        socket: &Path,
        args: &Args,
    ) -> io::Result<()> {
        let title = self.paint(BOLD, "switchd demo");
        let (blue, green) = (self.slot(Colour::Blue, 0), self.slot(Colour::Green, 0));
        let url = self.paint(BOLD, &format!("http://{proxy}/"));
        self.print(&format!(
            "\n{title}: the real proxy, two small upstreams, a light load that checks every answer\n\n  \
             {url}  (open it in a browser)  is served by {blue}; {green} is healthy and waits\n"
        ))?;
        if !args.exit {
            let switchctl = switchctl();
            let socket = quoted(socket);
            self.print("Try these in another terminal:\n")?;
            for verb in ["status", "flip green", "rollback"] {
                let verb = self.paint(BOLD, verb);
                self.print(&format!("  {switchctl} --socket {socket} {verb}"))?;
            }
            self.print(
                "\nEach flip gets one line here. Ctrl-C ends the demo and removes all of it.\n",
            )?;
        }
        let heading = "  flip             requests answered before, during and after it";
        let heading = self.paint(DIM, heading);
        self.print(&heading)
    }

    pub(super) fn flip(&mut self, flip: &Move) -> io::Result<()> {
        let failed = format!("{} failed", flip.failed);
        let failed = self.paint(if flip.failed == 0 { GREEN } else { RED }, &failed);
        let drained = match flip.drained_ms {
            Some(took) => format!("drained in {took} ms"),
            None => "still drains".to_owned(),
        };
        let line = format!(
            "  {:>3}  {} → {} {:>5} before {:>4} during {:>4} after · {failed} · {drained} · {} websockets moved",
            flip.number,
            self.slot(flip.from, 5),
            self.slot(flip.to, 5),
            flip.before,
            flip.during,
            flip.after,
            flip.websockets,
        );
        self.print(&line)
    }

    /// Rewrites the last line; nothing where that is not possible.
    pub(super) fn live(&mut self, tally: &Tally) -> io::Result<()> {
        if !self.is_terminal {
            return Ok(());
        }
        let totals = tally.totals;
        let rest = format!(
            "answers · {} requests so far, {} failed · {} of {WEBSOCKETS} websockets open",
            totals.answered, totals.failed, totals.websockets_open
        );
        let (slot, rest) = (self.slot(tally.active, 0), self.paint(DIM, &rest));
        write!(self.out, "{ERASE_LINE}       {slot} {rest}")?;
        self.out.flush()
    }

    /// The sum of it all; `books` only when every request came to its end.
    pub(super) fn end(&mut self, tally: &Tally, books: Option<Books>) -> io::Result<()> {
        for reason in &tally.reasons {
            let reason = self.paint(RED, &format!("        {reason}"));
            self.print(&reason)?;
        }
        let totals = tally.totals;
        let balance = books.map_or_else(String::new, |books| {
            format!("{} lost · {} sent twice · ", books.lost, books.doubled)
        });
        let is_well = tally.is_well() && books.is_none_or(Books::is_balanced);
        let verdict = format!(
            "{} failed · {balance}{} at a slot after it was drained",
            totals.failed, totals.late
        );
        let verdict = self.paint(if is_well { GREEN } else { RED }, &verdict);
        self.print(&format!(
            "\n  {} flips · {} requests · {} websockets moved · {verdict}\n",
            totals.moves, totals.sent, totals.websockets_moved
        ))
    }
}

/// The `switchctl` that was built with this program, as a shell takes it in whatever folder.
fn switchctl() -> String {
    let beside = std::env::current_exe().ok().and_then(|program| {
        let beside = program.parent()?.join("switchctl");
        beside.is_file().then_some(beside)
    });
    beside.map_or_else(|| "switchctl".to_owned(), |it| quoted(&it))
}

/// As one word of a shell.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let is_plain = |char: char| char.is_ascii_alphanumeric() || "/._-+:@".contains(char);
    if text.chars().all(is_plain) {
        return text;
    }
    format!("'{}'", text.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_one_word_of_a_shell() {
        for (path, word) in [
            ("/tmp/a-b_c.d/x", "/tmp/a-b_c.d/x"),
            ("/tmp/my files/x", "'/tmp/my files/x'"),
            ("/tmp/it's/x", "'/tmp/it'\\''s/x'"),
        ] {
            assert_eq!(quoted(Path::new(path)), word);
        }
    }
}
