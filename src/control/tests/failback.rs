//! Traffic moves by itself, or stays.

use super::support::BROKEN;
use super::support::Stage;
use super::support::eventually;
use super::support::flip;
use super::support::follow;
use crate::api::Verdict;
use crate::control::Until;
use crate::live::Kind;
use crate::switch::Command;
use crate::switch::SlotName;
use tokio::net::TcpListener;

#[tokio::test]
async fn traffic_leaves_a_slot_that_dies_and_the_slot_is_quarantined() {
    let mut stage = Stage::set("").await;
    stage.blue.dies().await;
    eventually("green takes over", async || {
        stage.active().name.as_str() == "green"
    })
    .await;
    eventually("the move is in the history", async || {
        !stage.history().await.is_empty()
    })
    .await;
    let history = stage.history().await;
    assert_eq!(history[0].command, "failback");
    assert_eq!(history[0].actor, "switchd");
    let reason = history[0].reason.clone().unwrap();
    assert!(reason.contains("connection refused"), "{reason}");
    let quarantine = stage.slot("blue").await.quarantine.unwrap();
    assert!(!quarantine.acknowledged);
    let slot = SlotName::new("blue").unwrap();
    let order = Command::Acknowledge { slot };
    let accepted = stage.order(order, Until::Drained).await.unwrap();
    assert!(accepted.remaining.unwrap().contains("healthy"));
    assert!(stage.slot("blue").await.quarantine.unwrap().acknowledged);
    assert_eq!(stage.history().await[1].command, "ack");
}

#[tokio::test]
async fn whoever_waits_for_a_flip_hears_that_traffic_moved_back() {
    let mut stage = Stage::set("").await;
    let left = stage.active();
    left.in_flight.enter(0, Kind::Request);
    let accepted = stage.order(flip("green"), Until::Drained).await.unwrap();
    eventually("green is published", async || {
        stage.active().name.as_str() == "green"
    })
    .await;
    stage.green.dies().await;
    let told = follow(accepted).await;
    assert_eq!(told.verdict, Verdict::MovedBack);
    assert_eq!(told.active, "blue");
    assert_eq!(stage.active().name.as_str(), "blue");
    left.in_flight.leave(0, Kind::Request);
    eventually("both operations are in the history", async || {
        let history = stage.history().await;
        let results: Vec<_> = history.iter().map(|line| line.result.as_str()).collect();
        results.contains(&"moved_back") && results.contains(&"done")
    })
    .await;
}

#[tokio::test]
async fn nothing_moves_between_two_bad_slots_and_the_state_says_why() {
    let stage = Stage::set("").await;
    stage.green.answers(BROKEN);
    stage.becomes("green", "unhealthy").await;
    stage.blue.answers(BROKEN);
    stage.becomes("blue", "unhealthy").await;
    eventually("the state says why", async || {
        stage.service().await.staying.is_some()
    })
    .await;
    assert_eq!(stage.active().name.as_str(), "blue");
    let reason = stage.slot("green").await.reason.unwrap();
    assert!(reason.contains("HTTP 500: no database"), "{reason}");
}

#[tokio::test]
async fn nothing_moves_when_what_both_slots_share_is_gone() {
    let database = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = database.local_addr().unwrap();
    // Looked at far too seldom by itself: the failing slot makes control look at once.
    let more = format!("[service.odoo.shared]\ntcp = \"{address}\"\ninterval = \"1h\"");
    let stage = Stage::set(&more).await;
    let shared = async || stage.service().await.shared.unwrap();
    eventually("the database is seen", async || {
        shared().await.health == "healthy"
    })
    .await;
    drop(database);
    stage.blue.answers(BROKEN);
    stage.becomes("blue", "unhealthy").await;
    eventually("it is looked at, and traffic stays", async || {
        shared().await.health == "unhealthy" && stage.service().await.staying.is_some()
    })
    .await;
    assert_eq!(
        shared().await.reason,
        Some(format!("{address}: connection refused"))
    );
    assert_eq!(stage.active().name.as_str(), "blue");
}

#[tokio::test]
async fn traffic_moves_when_what_both_slots_share_is_well() {
    let database = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = database.local_addr().unwrap();
    let more = format!("[service.odoo.shared]\ntcp = \"{address}\"\ninterval = \"1h\"");
    let stage = Stage::set(&more).await;
    stage.blue.answers(BROKEN);
    eventually("green takes over", async || {
        stage.active().name.as_str() == "green"
    })
    .await;
}
