//! What the journal promises, on real directories.

use super::*;
use crate::api::AuditRecord;
use crate::switch::Persisted;
use crate::switch::{FlipId, Generation, ServiceName, SlotName};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

pub(super) fn state(active: &str, flip: u64) -> Persisted {
    Persisted {
        active: SlotName::new(active).unwrap(),
        previous: None,
        generation: Generation(flip + 1),
        flip: FlipId(flip),
        moved: None,
        unproven: false,
        automatic_moves: Vec::new(),
        canary: None,
        newest: Generation(0),
        quarantines: BTreeMap::new(),
        fingerprints: BTreeMap::new(),
        accept_schema_change: false,
        confirm: None,
        labels: BTreeMap::new(),
        users: BTreeMap::new(),
    }
}

fn odoo() -> ServiceName {
    ServiceName::new("odoo").unwrap()
}

fn record(service: &str, flip: u64) -> AuditRecord {
    AuditRecord {
        schema: 1,
        at: format!("2026-01-01T00:00:{:02}Z", flip % 60),
        actor: "uid 0 (root)".to_owned(),
        service: service.to_owned(),
        command: "flip".to_owned(),
        flip: Some(flip),
        from: Some("blue".to_owned()),
        to: Some("green".to_owned()),
        version: None,
        result: "done".to_owned(),
        ..AuditRecord::default()
    }
}

fn open(dir: &Path) -> Journal {
    Journal::open(dir, Recover::Refuse).unwrap()
}

/// The error of an opening that must fail.
fn refused(dir: &Path) -> JournalError {
    Journal::open(dir, Recover::Refuse).unwrap_err()
}

fn flips(records: &[AuditRecord]) -> Vec<u64> {
    records.iter().filter_map(|record| record.flip).collect()
}

#[test]
fn a_state_that_was_recorded_is_there_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let shop = ServiceName::new("shop").unwrap();
    let mut journal = open(&dir.path().join("made/on/the/way"));
    assert_eq!(journal.state(&odoo()), None);
    journal.record(&odoo(), &state("blue", 1)).unwrap();
    journal.record(&shop, &state("a", 5)).unwrap();
    journal.record(&odoo(), &state("green", 2)).unwrap();
    drop(journal);
    let journal = open(&dir.path().join("made/on/the/way"));
    assert_eq!(journal.state(&odoo()), Some(&state("green", 2)));
    assert_eq!(journal.state(&shop), Some(&state("a", 5)));
    assert!(journal.warnings().is_empty());
}

#[test]
fn a_crash_at_any_instant_of_a_write_leaves_the_old_state_or_the_new() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("state.json");
    let mut journal = open(dir.path());
    journal.record(&odoo(), &state("blue", 1)).unwrap();
    let old = fs::read(&file).unwrap();
    journal.record(&odoo(), &state("green", 2)).unwrap();
    let new = fs::read(&file).unwrap();
    drop(journal);
    assert_ne!(old, new);

    // While the new content is written aside, however much of it has arrived.
    for written in 0..=new.len() {
        fs::write(&file, &old).unwrap();
        fs::write(dir.path().join("state.json.new"), &new[..written]).unwrap();
        assert_eq!(open(dir.path()).state(&odoo()), Some(&state("blue", 1)));
    }
    // Once it is renamed.
    fs::write(&file, &new).unwrap();
    assert_eq!(open(dir.path()).state(&odoo()), Some(&state("green", 2)));
    // And before there was any state.
    fs::remove_file(&file).unwrap();
    fs::write(dir.path().join("state.json.new"), &new[..10]).unwrap();
    assert_eq!(open(dir.path()).state(&odoo()), None);
}

#[test]
fn a_broken_state_file_is_refused_and_left_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("state.json");
    open(dir.path())
        .record(&odoo(), &state("green", 2))
        .unwrap();
    let mut content = fs::read(&file).unwrap();
    for at in 0..content.len() {
        content[at] ^= 0x04;
        fs::write(&file, &content).unwrap();
        let words = refused(dir.path()).to_string();
        assert!(words.contains(file.to_str().unwrap()), "{words}");
        assert!(words.contains("--recover"), "{words}");
        assert_eq!(fs::read(&file).unwrap(), content);
        content[at] ^= 0x04;
    }
    for length in 0..content.len() {
        fs::write(&file, &content[..length]).unwrap();
        assert!(matches!(refused(dir.path()), JournalError::Broken { .. }));
    }
    fs::write(&file, &content).unwrap();
    assert_eq!(open(dir.path()).state(&odoo()), Some(&state("green", 2)));
}

#[test]
fn a_state_file_of_a_newer_switchd_is_refused_with_both_versions() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("state.json");
    open(dir.path())
        .record(&odoo(), &state("green", 2))
        .unwrap();
    let newer = fs::read_to_string(&file)
        .unwrap()
        .replace("\"version\":1", "\"version\":23");
    fs::write(&file, newer).unwrap();
    let words = refused(dir.path()).to_string();
    assert!(words.contains("format 23"), "{words}");
    assert!(words.contains("up to 1"), "{words}");
}

#[test]
fn recover_sets_broken_files_aside_and_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("state.json");
    for n in 1..=3 {
        fs::write(&file, format!("broken {n}")).unwrap();
        let mut journal = Journal::open(dir.path(), Recover::StartFromConfig).unwrap();
        assert_eq!(journal.state(&odoo()), None);
        let aside = dir.path().join(format!("state.json.broken-{n}"));
        let words = journal.warnings().concat();
        assert!(words.contains(aside.to_str().unwrap()), "{words}");
        assert_eq!(fs::read_to_string(aside).unwrap(), format!("broken {n}"));
        journal.record(&odoo(), &state("blue", 1)).unwrap();
    }
    // With a good file, nothing is recovered.
    let journal = Journal::open(dir.path(), Recover::StartFromConfig).unwrap();
    assert_eq!(journal.state(&odoo()), Some(&state("blue", 1)));
    assert!(journal.warnings().is_empty());
}

#[test]
fn a_file_that_cannot_be_replaced_does_not_keep_a_state_from_the_disk() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = open(dir.path());
    journal.record(&odoo(), &state("blue", 1)).unwrap();
    let obstacle = dir.path().join("state.json.new");
    fs::create_dir(&obstacle).unwrap();
    journal.record(&odoo(), &state("green", 2)).unwrap();
    let trouble = journal.trouble().unwrap();
    assert!(trouble.contains("state.json.new: "), "{trouble}");
    drop(journal);
    assert_eq!(open(dir.path()).state(&odoo()), Some(&state("green", 2)));
}

#[test]
fn a_write_that_fails_everywhere_leaves_the_old_state_and_the_next_one_heals() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = open(dir.path());
    journal.record(&odoo(), &state("blue", 1)).unwrap();
    let obstacles = ["state.json.new", "reserve.state.new"].map(|name| dir.path().join(name));
    fs::remove_file(dir.path().join("reserve.state")).unwrap();
    for obstacle in &obstacles {
        fs::create_dir(obstacle).unwrap();
    }
    let error = journal.record(&odoo(), &state("green", 2)).unwrap_err();
    assert!(
        error.in_words().contains("state.json.new: "),
        "{}",
        error.in_words()
    );
    assert_eq!(journal.state(&odoo()), Some(&state("blue", 1)));
    for obstacle in &obstacles {
        fs::remove_dir(obstacle).unwrap();
    }
    journal.record(&odoo(), &state("green", 3)).unwrap();
    drop(journal);
    assert_eq!(open(dir.path()).state(&odoo()), Some(&state("green", 3)));
}

#[test]
fn two_daemons_cannot_share_a_directory() {
    let dir = tempfile::tempdir().unwrap();
    let first = open(dir.path());
    let words = refused(dir.path()).to_string();
    assert!(words.contains(dir.path().to_str().unwrap()), "{words}");
    let process = format!("process {}", std::process::id());
    assert!(words.contains(&process), "{words}");
    drop(first);
    open(dir.path());
}

#[test]
fn a_directory_that_cannot_be_made_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    let words = refused(&file.join("state")).in_words();
    assert!(words.contains("make the state directory"), "{words}");
    assert!(words.contains(file.to_str().unwrap()), "{words}");
}

#[test]
fn history_is_the_newest_operations_oldest_first() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = open(dir.path());
    assert_eq!(journal.history(None, 10).unwrap(), []);
    for flip in 1..=30 {
        journal
            .finish(&record(if flip % 3 == 0 { "shop" } else { "odoo" }, flip))
            .unwrap();
    }
    let newest = journal.history(None, 4).unwrap();
    assert_eq!(flips(&newest), [27, 28, 29, 30]);
    let shop = journal.history(Some("shop"), 3).unwrap();
    assert_eq!(flips(&shop), [24, 27, 30]);
    assert_eq!(journal.history(Some("nobody"), 3).unwrap(), []);
    assert_eq!(journal.history(None, 0).unwrap(), []);
    assert_eq!(
        journal.audit_log().history(None, usize::MAX).unwrap().len(),
        30
    );
}

#[test]
fn an_audit_line_torn_by_a_crash_is_tolerated_and_mended() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("audit.jsonl");
    let mut journal = open(dir.path());
    journal.finish(&record("odoo", 1)).unwrap();
    let one = fs::read(&file).unwrap();
    journal.finish(&record("odoo", 2)).unwrap();
    let two = fs::read(&file).unwrap();
    drop(journal);
    for length in one.len()..=two.len() {
        fs::write(&file, &two[..length]).unwrap();
        // All but the line's end: it is whole.
        let told: &[u64] = if length + 1 >= two.len() {
            &[1, 2]
        } else {
            &[1]
        };
        let reader = AuditLog::new(dir.path());
        assert_eq!(flips(&reader.history(None, 9).unwrap()), told);
        let mut journal = open(dir.path());
        let whole = length == one.len() || length == two.len();
        assert_eq!(journal.warnings().is_empty(), whole);
        journal.finish(&record("odoo", 3)).unwrap();
        let after = [told, &[3]].concat();
        assert_eq!(flips(&journal.history(None, 9).unwrap()), after);
        let lines = fs::read_to_string(&file).unwrap();
        assert_eq!(lines.lines().count(), after.len(), "{lines}");
    }
}

#[test]
fn an_audit_log_that_was_rotated_away_begins_anew() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = open(dir.path());
    journal.finish(&record("odoo", 1)).unwrap();
    fs::rename(
        dir.path().join("audit.jsonl"),
        dir.path().join("audit.jsonl.1"),
    )
    .unwrap();
    journal.finish(&record("odoo", 2)).unwrap();
    assert_eq!(flips(&journal.history(None, 9).unwrap()), [2]);
}

#[test]
fn an_operation_that_a_crash_cut_short_is_told_with_the_slot_that_has_traffic() {
    let cases = [
        (
            state("blue", 7),
            "before the move was written down; traffic is on blue",
        ),
        (
            state("green", 7),
            "after the move was written down; traffic is on green",
        ),
        (
            state("blue", 8),
            "while it was under way; traffic is on blue",
        ),
    ];
    for (on_disk, words) in cases {
        let dir = tempfile::tempdir().unwrap();
        let mut journal = open(dir.path());
        journal.finish(&record("odoo", 6)).unwrap();
        journal.begin(&record("odoo", 7)).unwrap();
        journal.record(&odoo(), &on_disk).unwrap();
        drop(journal);
        for _ in 0..2 {
            let told = open(dir.path()).history(Some("odoo"), 9).unwrap();
            assert_eq!(flips(&told), [6, 7]);
            assert_eq!(told[1].result, "interrupted");
            assert!(
                told[1].details.concat().ends_with(words),
                "{:?}",
                told[1].details
            );
        }
        assert!(!dir.path().join("pending-odoo.json").exists());
    }
}

#[test]
fn an_operation_that_ended_is_not_called_interrupted() {
    let dir = tempfile::tempdir().unwrap();
    let pending = dir.path().join("pending-odoo.json");
    let mut journal = open(dir.path());
    journal.begin(&record("odoo", 7)).unwrap();
    let left_by_a_crash = fs::read(&pending).unwrap();
    journal.finish(&record("odoo", 7)).unwrap();
    assert!(!pending.exists());
    drop(journal);
    // The crash came after the line in the log and before the file was removed.
    fs::write(&pending, left_by_a_crash).unwrap();
    let journal = open(dir.path());
    let told = journal.history(None, 9).unwrap();
    assert_eq!(told, [record("odoo", 7)]);
    assert!(!pending.exists());
    assert!(journal.warnings().is_empty());
}

#[test]
fn several_operations_of_a_service_may_be_under_way() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = open(dir.path());
    for flip in 1..=3 {
        journal.begin(&record("odoo", flip)).unwrap();
    }
    journal.begin(&record("shop", 1)).unwrap();
    let mut published = record("odoo", 1);
    published.published_ms = Some(12);
    journal.begin(&published).unwrap();
    journal.finish(&record("odoo", 2)).unwrap();
    drop(journal);
    let told = open(dir.path()).history(Some("odoo"), 9).unwrap();
    assert_eq!(flips(&told), [2, 1, 3]);
    assert_eq!(told[1].published_ms, Some(12));
    assert_eq!(told[1].result, "interrupted");
    assert_eq!(open(dir.path()).history(Some("shop"), 9).unwrap().len(), 1);
}

#[test]
fn a_pending_file_that_makes_no_sense_is_kept_and_told() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("pending-odoo.json"), "[{").unwrap();
    let journal = open(dir.path());
    let words = journal.warnings().concat();
    assert!(words.contains("pending-odoo.json.broken-1"), "{words}");
    assert_eq!(
        fs::read(dir.path().join("pending-odoo.json.broken-1")).unwrap(),
        b"[{"
    );
    drop(journal);
    assert!(open(dir.path()).warnings().is_empty());
}

#[test]
fn an_operation_of_no_service_is_told_all_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = open(dir.path());
    let reload = AuditRecord {
        command: "reload".to_owned(),
        flip: None,
        ..record("", 0)
    };
    journal.begin(&reload).unwrap();
    journal.finish(&reload).unwrap();
    assert_eq!(journal.history(None, 9).unwrap(), [reload]);
}

#[test]
fn half_a_line_that_a_full_disk_left_does_not_spoil_the_next_one() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("audit.jsonl");
    let mut journal = open(dir.path());
    journal.finish(&record("odoo", 1)).unwrap();
    let torn = [fs::read(&file).unwrap().as_slice(), b"{\"schema\":1,"].concat();
    fs::write(&file, torn).unwrap();
    journal.finish(&record("odoo", 2)).unwrap();
    assert_eq!(flips(&journal.history(None, 9).unwrap()), [1, 2]);
}
