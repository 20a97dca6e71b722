//! New settings while everything runs.

use super::support::Stage;
use super::support::Upstream;
use super::support::eventually;
use super::support::flip;
use super::support::follow;
use crate::api::Verdict;
use crate::control::Denied;
use crate::control::Until;
use crate::live::Kind;
use crate::switch::Actor;
use std::sync::Arc;

const STILL: &str = "[service.odoo.failback]\nmode = \"off\"";

async fn reload(stage: &Stage) -> Result<crate::api::Reloaded, Denied> {
    stage.handle().reload(Actor("alice".into())).await
}

#[tokio::test]
async fn what_stays_configured_keeps_its_counts_and_its_health() {
    let stage = Stage::set(STILL).await;
    let before = stage.active();
    before.in_flight.enter(0, Kind::Request);
    stage.rewrite(STILL, |text| {
        text.replace("path = \"/health\"", "path = \"/other\"")
    });
    reload(&stage).await.unwrap();
    assert!(
        Arc::ptr_eq(&before, &stage.active()),
        "the same picture, with its counts"
    );
    assert_eq!(stage.slot("blue").await.health, "healthy");
    assert_eq!(stage.slot("blue").await.in_flight.requests, 1);
    let view = stage.live.view();
    assert_eq!(
        view.services[0].settings.slots[0].members[0].health.path,
        "/other"
    );
    assert!(view.epoch.0 > 1);
}

#[tokio::test]
async fn a_slot_with_other_addresses_drains_its_old_picture_at_the_next_flip() {
    let stage = Stage::set(STILL).await;
    let before = stage.active();
    before.in_flight.enter(0, Kind::Request);
    let more = Upstream::start().await;
    let blue = stage.blue.address.to_string();
    let both = format!("{blue}\", \"{}", more.address);
    stage.rewrite(STILL, |text| text.replace(&blue, &both));
    reload(&stage).await.unwrap();
    let after = stage.active();
    assert!(!Arc::ptr_eq(&before, &after));
    assert_eq!(before.generation, after.generation);
    assert_eq!(after.members[0].endpoints.len(), 2);
    let kept = after.members[0].endpoints.iter();
    let old = &before.members[0].endpoints[0];
    assert_eq!(
        kept.filter(|it| Arc::ptr_eq(it, old)).count(),
        1,
        "the endpoint that stays is kept"
    );
    assert_eq!(stage.slot("blue").await.in_flight.requests, 1);
    let flipped = stage.order(flip("green"), Until::Drained).await.unwrap();
    eventually("the old picture drains too", async || {
        stage
            .service()
            .await
            .draining
            .iter()
            .any(|it| it.left.requests == 1)
    })
    .await;
    before.in_flight.leave(0, Kind::Request);
    assert_eq!(follow(flipped).await.verdict, Verdict::Done);
}

#[tokio::test]
async fn a_file_with_a_mistake_changes_nothing_and_shows_in_the_status() {
    let stage = Stage::set(STILL).await;
    stage.rewrite(STILL, |text| text.replace("rise = 2", "rsie = 2"));
    let Err(Denied::Config(problems)) = reload(&stage).await else {
        panic!("taken");
    };
    assert!(problems[0].contains("rsie"), "{problems:?}");
    let config = stage.handle().status().await.unwrap().config;
    assert_eq!(config.problems, problems);
    assert_eq!(stage.live.view().epoch.0, 1);
    stage.rewrite(STILL, |text| text);
    reload(&stage).await.unwrap();
    assert!(
        stage
            .handle()
            .status()
            .await
            .unwrap()
            .config
            .problems
            .is_empty()
    );
}

#[tokio::test]
async fn the_active_slot_cannot_be_removed() {
    let stage = Stage::set(STILL).await;
    let renamed = |text: String| {
        text.replace("slots.blue", "slots.red")
            .replace("\"blue\"", "\"red\"")
    };
    stage.rewrite(STILL, renamed);
    let Err(Denied::Config(problems)) = reload(&stage).await else {
        panic!("taken");
    };
    assert!(
        problems[0].contains("service odoo: slot blue cannot be removed"),
        "{problems:?}"
    );
    assert_eq!(stage.active().name.as_str(), "blue");
    assert_eq!(stage.live.view().epoch.0, 1);
}

#[tokio::test]
async fn a_changed_file_is_taken_by_itself() {
    let stage = Stage::set(STILL).await;
    let other = Upstream::start().await;
    // A watcher that has not begun yet misses a change: it is made until it is seen.
    let green = stage.green.address.to_string();
    eventually("the change is in force", async || {
        stage.rewrite(STILL, |text| {
            text.replace(&green, &other.address.to_string())
        });
        let slots = stage.service().await.slots;
        slots[1].members[0].endpoints[0].address == other.address.to_string()
    })
    .await;
    stage.becomes("green", "healthy").await;
    assert!(other.asked() > 0);
}

#[tokio::test]
async fn a_new_service_is_probed_and_an_old_one_goes() {
    let stage = Stage::set(STILL).await;
    let shop = |text: String| text.replace("service.odoo", "service.shop");
    stage.rewrite(STILL, shop);
    reload(&stage).await.unwrap();
    eventually("the new service is healthy", async || {
        let services = stage.handle().status().await.unwrap().services;
        services.len() == 1
            && services[0].name == "shop"
            && services[0]
                .slots
                .iter()
                .all(|slot| slot.health == "healthy")
    })
    .await;
    let view = stage.live.view();
    assert_eq!(view.hosts.find(b"anything"), Some(0));
    assert_eq!(view.services[0].settings.name.as_str(), "shop");
}

#[tokio::test]
async fn what_needs_a_restart_says_so_and_stays() {
    let stage = Stage::set(STILL).await;
    stage.rewrite(STILL, |text| text.replace("workers = 1", "workers = 3"));
    let reloaded = reload(&stage).await.unwrap();
    assert_eq!(reloaded.changes, [""; 0]);
    assert_eq!(reloaded.needs_restart.len(), 1);
    let status = stage.handle().status().await.unwrap();
    assert_eq!(status.config.needs_restart, reloaded.needs_restart);
    let settings = stage.handle().settings().await.unwrap();
    assert_eq!(settings.runtime.workers, 1);
}
