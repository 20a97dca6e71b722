//! Flips: gated, recorded, published, drained, told.

use super::support::BROKEN;
use super::support::Stage;
use super::support::eventually;
use super::support::flip;
use super::support::flip_at_once;
use super::support::follow;
use crate::api::Verdict;
use crate::control::Denied;
use crate::control::Until;
use crate::live::Kind;

use crate::switch::Command;
use crate::switch::Refusal;
use crate::switch::Terms;
use std::net::IpAddr;
use std::time::Duration;

/// No move by itself disturbs what is looked at.
const STILL: &str = "[service.odoo.failback]\nmode = \"off\"";

#[tokio::test]
async fn a_flip_is_gated_then_recorded_then_published_then_drained() {
    let stage = Stage::set(STILL).await;
    let asked = stage.green.asked();
    let told = stage.flip("green").await;
    assert_eq!(told.verdict, Verdict::Done);
    assert_eq!(told.active, "green");
    let steps = [
        "started",
        "probe",
        "probe",
        "gate_passed",
        "journalled",
        "published",
        "drained",
        "done",
    ];
    assert_eq!(told.events, steps);
    assert!(stage.green.asked() >= asked + 2, "the gate probes freshly");
    assert_eq!(stage.active().name.as_str(), "green");
    let history = stage.history().await;
    let [line] = &history[..] else {
        panic!("one operation, one line: {history:?}");
    };
    assert_eq!(
        (line.command.as_str(), line.result.as_str()),
        ("flip", "done")
    );
    assert_eq!(line.actor, "alice");
    assert!(line.published_ms.is_some() && line.drained_ms.is_some());
}

#[tokio::test]
async fn a_slot_that_does_not_pass_is_refused_with_its_own_words() {
    let mut stage = Stage::set(STILL).await;
    stage.green.answers(BROKEN);
    let told = stage.flip_at_once("green").await;
    assert_eq!(told.verdict, Verdict::Refused);
    let address = stage.green.address;
    assert_eq!(
        told.reasons,
        [format!("http {address}: HTTP 500: no database")]
    );
    stage.green.hangs();
    let told = stage.flip_at_once("green").await;
    assert_eq!(
        told.reasons,
        [format!("http {address}: timeout after 300ms")]
    );
    stage.green.dies().await;
    let told = stage.flip_at_once("green").await;
    assert_eq!(
        told.reasons,
        [format!("http {address}: connection refused")]
    );
    assert_eq!(stage.active().name.as_str(), "blue");
    assert_eq!(stage.live.view().epoch.0, 1, "nothing was published");
    let results = stage.history().await;
    assert!(results.iter().all(|line| line.result == "refused") && results.len() == 3);
}

#[tokio::test]
async fn nothing_is_published_that_could_not_be_recorded() {
    let stage = Stage::set(STILL).await;
    let folder = stage.folder.path().join("state");
    let away = stage.folder.path().join("away");
    std::fs::rename(&folder, &away).unwrap();
    let told = stage.flip("green").await;
    assert_eq!(told.verdict, Verdict::Failed);
    assert!(!told.reasons.is_empty());
    assert!(!told.events.contains(&"published"));
    assert_eq!(stage.active().name.as_str(), "blue");
    assert_eq!(stage.live.view().epoch.0, 1);
    std::fs::rename(&away, &folder).unwrap();
    assert_eq!(stage.flip("green").await.verdict, Verdict::Done);
}

#[tokio::test]
async fn a_restart_goes_on_where_traffic_was() {
    let stage = Stage::set(STILL).await;
    stage.flip("green").await;
    let generation = stage.active().generation;
    let stage = stage.restart().await;
    assert_eq!(stage.active().name.as_str(), "green");
    assert_eq!(stage.active().generation, generation);
    assert_eq!(stage.service().await.previous.as_deref(), Some("blue"));
}

#[tokio::test]
async fn an_edited_initial_moves_nothing() {
    let stage = Stage::set(STILL).await;
    stage.rewrite(STILL, |text| {
        text.replace("initial = \"blue\"", "initial = \"green\"")
    });
    let stage = stage.restart().await;
    assert_eq!(stage.active().name.as_str(), "blue");
}

#[tokio::test]
async fn the_slot_that_is_active_already_needs_no_flip() {
    let stage = Stage::set(STILL).await;
    let told = stage.flip("blue").await;
    assert_eq!(told.verdict, Verdict::Unchanged);
    assert_eq!(stage.live.view().epoch.0, 1);
    assert_eq!(stage.history().await[0].result, "unchanged");
}

#[tokio::test]
async fn a_second_flip_is_refused_while_the_first_is_gating() {
    let stage = Stage::set(STILL).await;
    stage.green.hangs();
    let first = stage
        .order(flip_at_once("green"), Until::Drained)
        .await
        .unwrap();
    let second = stage.order(flip("green"), Until::Drained).await;
    let Err(Denied::Refused(Refusal::Busy { operation, .. })) = &second else {
        panic!("{second:?}");
    };
    assert_eq!(operation.by.0, "alice");
    assert_eq!(follow(first).await.verdict, Verdict::Refused);
}

#[tokio::test]
async fn a_rollback_does_not_wait_for_a_drain() {
    let stage = Stage::set(STILL).await;
    let first = stage.active();
    first.in_flight.enter(0, Kind::Request);
    let waiting = stage.order(flip("green"), Until::Drained).await.unwrap();
    eventually("green is published", async || {
        stage.active().name.as_str() == "green"
    })
    .await;
    let rollback = Command::Rollback {
        terms: Terms::default(),
        force: false,
        reason: None,
    };
    let back = stage.order(rollback, Until::Drained).await.unwrap();
    assert_eq!(follow(back).await.verdict, Verdict::Done);
    assert_eq!(stage.active().name.as_str(), "blue");
    let status = stage.service().await;
    assert_eq!(
        status.draining.len(),
        1,
        "the first generation still drains"
    );
    assert_eq!(status.draining[0].left.requests, 1);
    assert_eq!(stage.slot("blue").await.in_flight.requests, 1);
    first.in_flight.leave(0, Kind::Request);
    assert_eq!(follow(waiting).await.verdict, Verdict::Done);
    eventually("all is steady", async || {
        stage.service().await.phase == "steady"
    })
    .await;
}

#[tokio::test]
async fn who_does_not_wait_hears_the_end_when_traffic_has_moved() {
    let stage = Stage::set(STILL).await;
    let left = stage.active();
    left.in_flight.enter(0, Kind::Websocket);
    let accepted = stage.order(flip("green"), Until::Published).await.unwrap();
    let told = follow(accepted).await;
    assert_eq!(told.verdict, Verdict::Done);
    assert!(!told.events.contains(&"drained"), "{told:?}");
    assert_eq!(stage.service().await.draining.len(), 1);
    left.in_flight.leave(0, Kind::Websocket);
}

#[tokio::test]
async fn what_outlives_its_budget_is_cut_off_by_kind_and_counted() {
    let more = format!(
        "{STILL}\n[service.odoo.flip]\ndrain_requests = \"50ms\"\ndrain_websockets = \"80ms\""
    );
    let stage = Stage::set(&more).await;
    let left = stage.active();
    for kind in [
        Kind::Request,
        Kind::Websocket,
        Kind::Websocket,
        Kind::Transfer,
    ] {
        left.in_flight.enter(0, kind);
    }
    let accepted = stage.order(flip("green"), Until::Drained).await.unwrap();
    eventually("both are cut off", async || {
        left.is_cut_off(Kind::Websocket)
    })
    .await;
    assert!(left.is_cut_off(Kind::Request));
    assert!(
        !left.is_cut_off(Kind::Transfer),
        "its budget is the default"
    );
    for kind in [
        Kind::Request,
        Kind::Websocket,
        Kind::Websocket,
        Kind::Transfer,
    ] {
        left.in_flight.leave(0, kind);
    }
    let told = follow(accepted).await;
    assert_eq!((told.verdict, told.cut), (Verdict::Done, 3));
    assert_eq!(stage.history().await[0].cut, 3);
}

#[tokio::test]
async fn who_waits_for_a_place_is_sent_to_the_new_slot() {
    let more = format!("{STILL}\n[service.odoo.queue]\nmax_in_flight = 1");
    let stage = Stage::set(&more).await;
    let left = stage.active();
    let places = left.places.as_ref().unwrap();
    let _taken = places.try_take().unwrap();
    let client = IpAddr::from([10, 0, 0, 1]).into();
    let waiting = places
        .join(client, stage.live.view().epoch.0, None)
        .unwrap();
    let wait = tokio::time::timeout(Duration::from_secs(20), waiting);
    let (told, waited) = tokio::join!(stage.flip("green"), wait);
    assert_eq!(told.verdict, Verdict::Done);
    let place = waited.expect("nobody waits for ever").unwrap();
    assert!(place.is_of(stage.active().places.as_ref().unwrap()));
}

#[tokio::test]
async fn a_forced_flip_needs_no_gate_and_keeps_its_reason() {
    let mut stage = Stage::set(STILL).await;
    stage.green.dies().await;
    let forced = Command::Flip {
        terms: Terms::default(),
        to: crate::switch::SlotName::new("green").unwrap(),
        force: true,
        reason: Some("blue is on fire".into()),
        expect: None,
    };
    let accepted = stage.order(forced, Until::Drained).await.unwrap();
    assert_eq!(follow(accepted).await.verdict, Verdict::Done);
    let history = stage.history().await;
    assert_eq!(history[0].reason.as_deref(), Some("blue is on fire"));
}
