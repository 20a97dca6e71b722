//! `switchctl cache list`, `switchctl cache purge PREFIX`

use super::args::{CacheArgs, CacheListArgs, CachePurgeArgs, CacheVerb};
use super::failure::Failure;
use super::session::Session;
use super::style::Look;
use super::table::{Cell, Table};
use super::words;
use crate::api::{CacheEntry, CacheForm, CacheList, CachePurge, CachePurged};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

pub(super) async fn run(session: &Session, args: &CacheArgs) -> Result<(), Failure> {
    match &args.what {
        CacheVerb::List(args) => list(session, args).await,
        CacheVerb::Purge(args) => purge(session, args).await,
    }
}

async fn list(session: &Session, args: &CacheListArgs) -> Result<(), Failure> {
    let mut path = format!("/v1/cache?limit={}", args.limit);
    if let Some(service) = session.named_service() {
        path.push_str("&service=");
        path.push_str(service);
    }
    if let Some(prefix) = &args.prefix {
        path.push_str("&prefix=");
        path.extend(utf8_percent_encode(prefix, NON_ALPHANUMERIC));
    }
    let document = session.client.get(&path).await?;
    session.show(&document, render)
}

async fn purge(session: &Session, args: &CachePurgeArgs) -> Result<(), Failure> {
    let request = CachePurge {
        service: session.named_service().map(str::to_owned),
        prefix: args.prefix.clone(),
    };
    let document = session.client.post("/v1/cache/purge", &request).await?;
    session.show(&document, |purged: &CachePurged, _| {
        format!(
            "{} forgotten, {}",
            words::many(purged.entries, "answer"),
            words::bytes(purged.bytes)
        )
    })
}

fn render(list: &CacheList, look: &Look) -> String {
    let kept = format!(
        "{} kept, {} in memory, {} on disk",
        words::many(list.kept, "answer"),
        words::bytes(list.memory_bytes),
        words::bytes(list.disk_bytes)
    );
    if list.entries.is_empty() {
        return match list.kept {
            0 => "nothing is kept".to_owned(),
            _ => format!("none begins so; {kept}"),
        };
    }
    let mut table = Table::new(
        "",
        vec![
            Cell::number("HITS"),
            Cell::number("AGE"),
            Cell::number("FRESH"),
            Cell::number("SIZE"),
            Cell::new("FORMS"),
            Cell::new("WHERE"),
            Cell::new("FLIPS"),
            Cell::new("URL"),
        ],
    );
    for entry in &list.entries {
        table.row(row(entry));
    }
    let shown = list.entries.len() as u64;
    let more = match list.matching.saturating_sub(shown) {
        0 => String::new(),
        more => format!("{more} more; -n shows more\n"),
    };
    format!("{}{more}{kept}", table.render(look.style))
}

fn row(entry: &CacheEntry) -> Vec<Cell> {
    let forms = |wanted: fn(&CacheForm) -> bool| entry.forms.iter().any(wanted);
    let place = match (forms(|it| it.in_memory), forms(|it| it.on_disk)) {
        (true, true) => "both",
        (true, false) => "memory",
        (false, _) => "disk",
    };
    let names: Vec<_> = entry.forms.iter().map(|it| it.form.as_str()).collect();
    vec![
        Cell::number(entry.hits.to_string()),
        Cell::number(words::took(entry.age_ms)),
        Cell::number(words::took(entry.fresh_ms)),
        Cell::number(words::bytes(entry.forms.iter().map(|it| it.bytes).sum())),
        Cell::new(names.join(" ")),
        Cell::new(place),
        Cell::new(if entry.immutable { "outlives" } else { "ends" }),
        Cell::new(format!("{}://{}{}", entry.scheme, entry.host, entry.target)),
    ]
}

#[cfg(test)]
mod tests {
    use super::super::style::tests::look;
    use super::*;

    fn list() -> CacheList {
        let form = |form: &str, bytes, in_memory| CacheForm {
            form: form.to_owned(),
            bytes,
            in_memory,
            on_disk: true,
        };
        CacheList {
            schema: 1,
            kept: 7,
            memory_bytes: 1 << 20,
            disk_bytes: 3 << 20,
            matching: 2,
            entries: vec![CacheEntry {
                service: "odoo".to_owned(),
                host: "erp.example".to_owned(),
                scheme: "https".to_owned(),
                target: "/web/assets/1/web.js\x1b".to_owned(),
                hits: 17,
                age_ms: 90_000,
                fresh_ms: 4_000_000,
                immutable: true,
                vary: Vec::new(),
                forms: vec![form("plain", 1 << 20, false), form("br", 1 << 18, true)],
            }],
        }
    }

    #[test]
    fn a_list_says_what_is_kept_where_and_for_how_long() {
        assert_eq!(
            render(&list(), &look()),
            "HITS         AGE      FRESH     SIZE  FORMS     WHERE  FLIPS     URL
  17  1 min 30 s  1 h 6 min  1.2 MiB  plain br  both   outlives  https://erp.example/web/assets/1/web.js\u{fffd}
1 more; -n shows more
7 answers kept, 1.0 MiB in memory, 3.0 MiB on disk"
        );
    }

    #[test]
    fn an_empty_list_says_why() {
        let mut list = list();
        list.entries.clear();
        assert!(render(&list, &look()).starts_with("none begins so; 7 answers kept"));
        list.kept = 0;
        assert_eq!(render(&list, &look()), "nothing is kept");
    }
}
