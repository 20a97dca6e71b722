//! `switchd demo` keeps its word, and leaves nothing behind.

#![allow(clippy::unwrap_used)]

use rustix::process::Pid;
use rustix::process::Signal;
use rustix::process::kill_process;
use std::fs;
use std::io::BufRead;
use std::io::BufReader;
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::process::Output;
use std::process::Stdio;

fn demo(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_switchd"));
    command.arg("demo").env("TMPDIR", folder);
    command
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn assert_success(output: &Output) {
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{}\n{out}\n{err}", output.status);
}

#[test]
fn five_flips_under_load_fail_no_request() {
    let folder = tempfile::tempdir().unwrap();
    let output = demo(folder.path())
        .args(["--flips", "5", "--exit"])
        .output()
        .unwrap();
    assert_success(&output);
    let told = text(&output.stdout);
    let flips = told.lines().filter(|line| line.contains(" → "));
    let well = flips.filter(|line| line.contains(" · 0 failed · drained in "));
    assert_eq!(well.count(), 5, "{told}");
    let sum = told.lines().find(|line| line.contains("5 flips · "));
    let sum = sum.unwrap_or_else(|| panic!("no sum in {told}"));
    assert!(
        sum.contains(" · 0 failed · 0 lost · 0 sent twice · "),
        "{sum}"
    );
    assert!(!sum.contains(" 0 requests"), "{sum}");
    assert!(!told.contains('\x1b'), "colours are for terminals: {told}");
    let left = fs::read_dir(folder.path()).unwrap().count();
    assert_eq!(left, 0, "the demo leaves nothing behind");
}

#[test]
fn an_interrupt_ends_the_demo_and_its_proxy() {
    let folder = tempfile::tempdir().unwrap();
    let mut child = demo(folder.path()).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut told = lines.by_ref().map(Result::unwrap);
    let status_line = told.find(|line| line.ends_with(" status")).unwrap();
    told.find(|line| line.contains("requests answered"))
        .unwrap();
    let socket = status_line.split(' ').nth_back(1).unwrap();
    assert!(Path::new(socket).exists(), "{status_line}");
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    assert!(
        told.any(|line| line.contains(" 0 failed ")),
        "the sum is told"
    );
    assert!(child.wait().unwrap().success());
    assert!(!Path::new(socket).exists());
    let left = fs::read_dir(folder.path()).unwrap().count();
    assert_eq!(left, 0, "the demo leaves nothing behind");
}

#[test]
fn every_printed_command_line_works_as_it_stands() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().join("with a space");
    fs::create_dir(&folder).unwrap();
    let mut child = demo(&folder).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut told = lines.by_ref().map(Result::unwrap);
    told.find(|line| line.starts_with("Try these")).unwrap();
    let commands: Vec<String> = told
        .by_ref()
        .skip_while(|line| line.trim().is_empty())
        .take_while(|line| !line.trim().is_empty())
        .collect();
    assert_eq!(commands.len(), 3, "{commands:?}");
    told.find(|line| line.contains("requests answered"))
        .unwrap();
    for command in commands {
        // As somebody pastes it who is somewhere else.
        let output = Command::new("sh")
            .args(["-c", &command])
            .current_dir("/")
            .output()
            .unwrap();
        assert_success(&output);
    }
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    // Whoever prints must not wait for a reader.
    for _line in told {}
    assert!(child.wait().unwrap().success());
}

#[test]
fn the_demo_of_the_makefile_builds_what_it_prints() {
    let makefile = concat!(env!("CARGO_MANIFEST_DIR"), "/Makefile");
    let makefile = fs::read_to_string(makefile).unwrap();
    let recipe = makefile.split("\ndemo:").nth(1).unwrap();
    let recipe = recipe.split("\n\n").next().unwrap();
    assert!(
        recipe.contains("cargo build --locked --quiet --bins"),
        "{recipe}"
    );
}

#[test]
fn a_port_in_use_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let folder = tempfile::tempdir().unwrap();
    let port = address.rsplit(':').next().unwrap();
    let output = demo(folder.path())
        .args(["--port", port, "--exit"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let error = text(&output.stderr);
    assert!(error.contains(&address), "{error}");
}
