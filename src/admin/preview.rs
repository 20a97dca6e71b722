//! Previews: a link to a slot that is not active.

use super::actions::Asked;
use super::actions::parse;
use super::answer;
use super::answer::Answer;
use super::problem;
use super::problem::Wrong;
use super::server::Admin;
use crate::api::SlotRequest;
use crate::config::HostPattern;
use crate::config::Settings;

impl Admin {
    pub(super) async fn preview(&self, service: &str, asked: Asked<'_>) -> Result<Answer, Wrong> {
        let request: SlotRequest = parse(&asked.body)?;
        let settings = self.control.settings().await.map_err(problem::denied)?;
        let made = self
            .control
            .preview(service.to_owned(), request.slot, asked.by);
        let mut link = made.await.map_err(problem::denied)?;
        link.url = format!("{}{}", self.site(service, &settings), link.url);
        Ok(answer::json(&link))
    }

    /// As a browser gets there: over TLS where that is spoken, by the first name of the service.
    fn site(&self, service: &str, settings: &Settings) -> String {
        let known = self.edge.listeners().iter().zip(&settings.listeners);
        let mut all: Vec<_> = known
            .map(|(bound, listener)| (bound, !listener.certificates.is_empty() || listener.acme))
            .collect();
        // The first that speaks TLS, else the first.
        all.sort_by_key(|(_, is_secure)| !is_secure);
        let Some((bound, is_secure)) = all.first() else {
            return String::new();
        };
        let service = settings
            .services
            .iter()
            .find(|it| it.name.as_str() == service);
        let mut hosts = service.into_iter().flat_map(|service| &service.hosts);
        let host = hosts.find_map(|host| match host {
            HostPattern::Exact(name) => Some(name.clone()),
            HostPattern::Any | HostPattern::Suffix(_) => None,
        });
        let host = host.unwrap_or_else(|| match bound.ip() {
            address if address.is_unspecified() => "127.0.0.1".to_owned(),
            address if address.is_ipv6() => format!("[{address}]"),
            address => address.to_string(),
        });
        let (scheme, usual) = if *is_secure {
            ("https", 443)
        } else {
            ("http", 80)
        };
        match bound.port() {
            port if port == usual => format!("{scheme}://{host}"),
            port => format!("{scheme}://{host}:{port}"),
        }
    }
}
