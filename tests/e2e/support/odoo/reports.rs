//! Reports: a worker runs wkhtmltopdf, which fetches what the page names at `report.url`, and waits for it.

use super::super::wire::get;
use super::answer::Answer;
use super::site::Site;

/// What the page of a report names: its bundle, a font, the company's logo, and a barcode.
fn needs(site: &Site) -> [String; 4] {
    let hash = site.behaviour.assets;
    [
        format!("/web/assets/{hash}/web.report_assets_common.min.css"),
        "/web/static/fonts/lato/Lato-Reg-webfont.woff".to_owned(),
        "/web/image/res.company/1/logo".to_owned(),
        "/report/barcode/QR/S00042?width=100".to_owned(),
    ]
}

pub(super) async fn answer(site: &Site, path: &str) -> Option<Answer> {
    if path == "/web/image/res.company/1/logo" || path.starts_with("/report/barcode/") {
        return Some(Answer::bytes(200, "image/png", "PNG").with("Cache-Control", "no-store"));
    }
    if !path.starts_with("/report/pdf/") {
        return None;
    }
    let mut renders = site.renders.subscribe();
    renders.wait_for(|renders| *renders).await.ok()?;
    // `report.url`, which is `web.base.url` where nobody says otherwise.
    let base_url = site.database.base_url();
    let front_door = base_url.strip_prefix("http://")?.parse().ok()?;
    for needed in needs(site) {
        let status = get(front_door, &needed).await.status();
        if status != 200 {
            let text = format!("wkhtmltopdf: {needed}: {status}");
            return Some(Answer::html(500, &text));
        }
    }
    Some(Answer::bytes(200, "application/pdf", "%PDF"))
}
