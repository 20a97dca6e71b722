//! What probes find, and how soon.

use super::support::BROKEN;
use super::support::Stage;
use super::support::eventually;
use crate::live::Wellness;

const STILL: &str = "[service.odoo.failback]\nmode = \"off\"";

#[tokio::test]
async fn both_slots_are_probed_and_the_status_says_what_was_found() {
    let stage = Stage::set(STILL).await;
    stage.green.answers(BROKEN);
    stage.becomes("green", "unhealthy").await;
    let green = stage.slot("green").await;
    let endpoint = &green.members[0].endpoints[0];
    assert_eq!(endpoint.health, "unhealthy");
    assert!(endpoint.since.is_some());
    let last = endpoint.last.as_ref().unwrap();
    assert!(!last.passed);
    assert_eq!(last.result, "HTTP 500: no database");
    let blue = stage.slot("blue").await;
    assert_eq!(
        blue.members[0].endpoints[0].last.as_ref().unwrap().result,
        "HTTP 200"
    );
    let view = stage.live.view();
    let wellness = |slot: usize| {
        view.services[0].slots[slot].members[0].endpoints[0]
            .health
            .get()
    };
    assert_eq!(
        (wellness(0), wellness(1)),
        (Wellness::Healthy, Wellness::Unhealthy)
    );
}

#[tokio::test]
async fn a_hint_from_traffic_hastens_the_next_probe() {
    let stage = Stage::set(STILL).await;
    // From now on a probe by itself would come in an hour.
    stage.rewrite(STILL, |text| {
        text.replace("interval = \"50ms\"", "interval = \"1h\"")
    });
    stage
        .handle()
        .reload(crate::switch::Actor::itself())
        .await
        .unwrap();
    let asked = stage.blue.asked();
    eventually("the new prober has begun", async || {
        stage.blue.asked() > asked
    })
    .await;
    stage.blue.answers(BROKEN);
    let endpoint = stage.active().members[0].endpoints[0].clone();
    let suspects = tokio::spawn(async move {
        loop {
            endpoint.health.suspect();
            tokio::task::yield_now().await;
        }
    });
    stage.becomes("blue", "unhealthy").await;
    suspects.abort();
}

#[tokio::test]
async fn a_probe_on_demand_tells_every_endpoint() {
    let stage = Stage::set(STILL).await;
    stage.green.answers(BROKEN);
    let report = stage
        .handle()
        .probe("odoo".into(), "green".into())
        .await
        .unwrap();
    assert!(!report.passed);
    assert_eq!(report.endpoints[0].address, stage.green.address.to_string());
    assert_eq!(report.endpoints[0].result.result, "HTTP 500: no database");
    let report = stage
        .handle()
        .probe("odoo".into(), "blue".into())
        .await
        .unwrap();
    assert!(report.passed);
    let wrong = stage.handle().probe("odoo".into(), "red".into()).await;
    assert_eq!(
        wrong.unwrap_err().to_string(),
        "there is no slot \"red\"; the slots are blue, green"
    );
}

#[tokio::test]
async fn the_metrics_show_health_flips_and_what_runs() {
    let stage = Stage::set(STILL).await;
    stage.flip("green").await;
    stage
        .active()
        .in_flight
        .enter(0, crate::live::Kind::Websocket);
    let text = stage.handle().page().await.unwrap().render();
    for line in [
        r#"switchd_flips_total{service="odoo",direction="flip",result="done"} 1.0"#,
        r#"switchd_slot_active{service="odoo",slot="green"} 1.0"#,
        r#"switchd_slot_active{service="odoo",slot="blue"} 0.0"#,
        r#"switchd_slot_health{service="odoo",slot="green"} 1.0"#,
        r#"switchd_in_flight{service="odoo",slot="green",kind="websocket"} 1.0"#,
        r#"switchd_generation{service="odoo"} 2.0"#,
    ] {
        assert!(text.lines().any(|it| it == line), "no {line} in\n{text}");
    }
}
