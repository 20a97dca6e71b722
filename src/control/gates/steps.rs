//! Gates of kind "http": requests of the operator's, one after the other.

use super::asking::Asker;
use super::asking::KEPT;
use super::asking::Question;
use super::check::Attempt;
use super::check::Check;
use super::check::shown;
use super::trial::Trial;
use crate::config::Captured;
use crate::config::Gate;
use crate::config::Step;
use crate::upstream::Visited;
use bytes::Bytes;
use http::HeaderName;
use http::HeaderValue;
use http::Method;
use serde_json::Value;
use std::collections::BTreeMap;
use tokio::time::Instant;

type Captures = BTreeMap<String, String>;

/// Once for each address; where members have different numbers of them, those of the smaller take turns.
pub(super) async fn attempt(trial: &Trial, gate: &Gate, steps: &[Step]) -> Attempt {
    let mut asked = Vec::new();
    for step in steps {
        let member = step.member.clone();
        let member = member.or_else(|| trial.member_for(&step.path, false));
        let askers = member.map(|member| trial.askers(gate, &member));
        asked.push(askers.unwrap_or_default());
    }
    let rounds = asked.iter().map(Vec::len).max().unwrap_or(0);
    let mut checks = Vec::new();
    for round in 0..rounds {
        let mut captures = Captures::new();
        for (step, askers) in steps.iter().zip(&asked) {
            let Some(asker) = askers.get(round % askers.len().max(1)) else {
                continue;
            };
            let check = one(trial, asker, step, &mut captures).await;
            let goes_on = check.outcome == crate::api::Outcome::Passed;
            checks.push(check);
            if !goes_on {
                // What comes next would ask for what was not captured.
                return Attempt::of(checks);
            }
        }
    }
    Attempt::of(checks)
}

async fn one(trial: &Trial, asker: &Asker<'_>, step: &Step, captures: &mut Captures) -> Check {
    // As it is written: what was captured may be a secret.
    let name = format!("{} {}", step.method, step.path);
    let started = Instant::now();
    let slot = &trial.slot;
    let judged = async {
        let question = question(step, captures).map_err(|what| {
            let remedy = "look at what the steps above capture";
            Check::failed(&name, what, remedy)
        })?;
        let visited = asker.ask(question, step.within).await;
        let visited = visited.map_err(|error| {
            let remedy = format!("look at the log of {slot}, and with `switchctl probe {slot}`");
            Check::failed(&name, error.to_string(), remedy)
        })?;
        let judged = judge(step, &visited, captures);
        judged.map_err(|what| {
            let remedy = format!(
                "look at the log of {slot}; if this answer is right, change what the gate expects"
            );
            Check::failed(&name, what, remedy)
        })?;
        Ok(Check::passed(&name, format!("HTTP {}", visited.status)))
    };
    let check = judged.await.unwrap_or_else(|check| check);
    check.at(&asker.name()).took(started.elapsed())
}

fn question(step: &Step, captures: &Captures) -> Result<Question, String> {
    let method = Method::from_bytes(step.method.as_bytes());
    let mut headers = Vec::new();
    for (name, value) in &step.headers {
        let told = |_| format!("header {name} cannot be sent with what was captured");
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|error| error.to_string())?;
        let mut value = HeaderValue::from_str(&filled(value.reveal(), captures)).map_err(told)?;
        value.set_sensitive(true);
        headers.push((name, value));
    }
    Ok(Question {
        method: method.map_err(|error| error.to_string())?,
        path: filled(&step.path, captures),
        headers,
        body: Bytes::from(filled(step.body.reveal(), captures)),
        keep: KEPT,
    })
}

/// `{{name}}` replaced by what was captured.
fn filled(text: &str, captures: &Captures) -> String {
    let mut filled = text.to_owned();
    for (name, value) in captures {
        filled = filled.replace(&format!("{{{{{name}}}}}"), value);
    }
    filled
}

/// Err says what is not as it should be.
fn judge(step: &Step, visited: &Visited, captures: &mut Captures) -> Result<(), String> {
    let status = visited.status;
    let is_expected = |(low, high): &(u16, u16)| (*low..=*high).contains(&status);
    if !step.expect_status.iter().any(is_expected) {
        return Err(with_body(
            format!("HTTP {status} ({} expected)", ranges(&step.expect_status)),
            visited,
        ));
    }
    for (name, expected) in &step.expect_headers {
        let values = visited.headers.get_all(name).iter();
        let values: Vec<_> = values.map(HeaderValue::as_bytes).collect();
        if values.contains(&expected.as_bytes()) {
            continue;
        }
        return Err(match values.first() {
            Some(value) => format!("{name} is {:?}, {expected:?} is expected", shown(value)),
            None => format!("the answer has no {name}, {expected:?} is expected"),
        });
    }
    let is_there = memchr::memmem::find(&visited.body, step.expect_body.as_bytes()).is_some();
    if !step.expect_body.is_empty() && !is_there {
        let what = format!("the body lacks {:?}", step.expect_body);
        return Err(with_body(what, visited));
    }
    json(step, visited)?;
    for (name, from) in &step.capture {
        let value = captured(from, visited)?;
        captures.insert(name.clone(), value);
    }
    Ok(())
}

fn with_body(mut what: String, visited: &Visited) -> String {
    let body = shown(&visited.body);
    if !body.is_empty() {
        what.push_str(": ");
        what.push_str(&body);
    }
    what
}

fn ranges(all: &[(u16, u16)]) -> String {
    let words = all.iter().map(|(low, high)| {
        if low == high {
            low.to_string()
        } else {
            format!("{low}-{high}")
        }
    });
    words.collect::<Vec<_>>().join(", ")
}

fn json(step: &Step, visited: &Visited) -> Result<(), String> {
    if step.expect_json.is_empty() && step.expect_json_exists.is_empty() {
        return Ok(());
    }
    let document = document(visited)?;
    for pointer in &step.expect_json_exists {
        if document.pointer(pointer).is_none() {
            return Err(with_body(format!("nothing stands at {pointer:?}"), visited));
        }
    }
    for (pointer, expected) in &step.expect_json {
        match document.pointer(pointer) {
            None => {
                let what = format!("nothing stands at {pointer:?}, {expected} is expected");
                return Err(with_body(what, visited));
            }
            Some(value) if !is_same(value, expected) => {
                let value = shown(value.to_string().as_bytes());
                return Err(format!("{pointer:?} is {value}, {expected} is expected"));
            }
            Some(_) => {}
        }
    }
    Ok(())
}

fn document(visited: &Visited) -> Result<Value, String> {
    let parsed = serde_json::from_slice(&visited.body);
    parsed.map_err(|_| {
        if visited.is_whole {
            with_body("the body is no JSON".to_owned(), visited)
        } else {
            "the body is longer than 4MiB".to_owned()
        }
    })
}

/// 2 and 2.0 are the same.
fn is_same(one: &Value, other: &Value) -> bool {
    match (one.as_f64(), other.as_f64()) {
        (Some(one), Some(other)) => one.total_cmp(&other).is_eq(),
        _ => one == other,
    }
}

fn captured(from: &Captured, visited: &Visited) -> Result<String, String> {
    match from {
        Captured::Cookie(name) => cookie(visited, name)
            .ok_or_else(|| format!("the answer sets no cookie {name:?} to capture")),
        Captured::Header(name) => {
            let value = visited.headers.get(name).and_then(|it| it.to_str().ok());
            let none = || format!("the answer has no {name} to capture");
            value.map(str::to_owned).ok_or_else(none)
        }
        Captured::Json(pointer) => match document(visited)?.pointer(pointer) {
            None => Err(with_body(
                format!("nothing stands at {pointer:?} to capture"),
                visited,
            )),
            Some(Value::String(text)) => Ok(text.clone()),
            Some(value) => Ok(value.to_string()),
        },
    }
}

/// The last of that name, as a browser keeps it.
pub(super) fn cookie(visited: &Visited, name: &str) -> Option<String> {
    let lines = visited.headers.get_all(http::header::SET_COOKIE).iter();
    let mut pairs = lines.filter_map(|line| line.to_str().ok()?.split(';').next()?.split_once('='));
    pairs
        .rfind(|(known, _)| known.trim() == name)
        .map(|(_, value)| value.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn visited(body: &str) -> Visited {
        Visited {
            status: 200,
            headers: [
                ("set-cookie", "a=1; Path=/"),
                ("set-cookie", "session_id=first"),
                ("set-cookie", "session_id=second; HttpOnly"),
            ]
            .into_iter()
            .map(|(name, value)| {
                let name = HeaderName::from_static(name);
                (name, HeaderValue::from_static(value))
            })
            .collect(),
            body: body.as_bytes().to_vec(),
            is_whole: true,
            took: std::time::Duration::ZERO,
        }
    }

    #[test]
    fn what_was_captured_takes_the_places_of_its_name() {
        let captures = Captures::from([("id".to_owned(), "7".to_owned())]);
        let body = r#"{"args": [[{{id}}]], "x": {"id": "{{ id }}"}}"#;
        assert_eq!(
            filled(body, &captures),
            r#"{"args": [[7]], "x": {"id": "{{ id }}"}}"#
        );
    }

    #[test]
    fn values_are_captured_as_texts() {
        let visited = visited(r#"{"result": {"uid": 2, "name": "x", "deep": [1]}}"#);
        let json = |pointer: &str| captured(&Captured::Json(pointer.to_owned()), &visited);
        assert_eq!(json("/result/uid").unwrap(), "2");
        assert_eq!(json("/result/name").unwrap(), "x");
        assert_eq!(json("/result/deep").unwrap(), "[1]");
        assert!(json("/error").unwrap_err().contains("nothing stands at"));
        assert_eq!(cookie(&visited, "session_id").unwrap(), "second");
        assert!(captured(&Captured::Cookie("b".to_owned()), &visited).is_err());
    }

    #[test]
    fn numbers_are_compared_as_numbers() {
        assert!(is_same(&serde_json::json!(2), &serde_json::json!(2.0)));
        assert!(!is_same(&serde_json::json!(2), &serde_json::json!("2")));
        assert!(is_same(&serde_json::json!([1]), &serde_json::json!([1])));
    }
}
