//! All that TLS needs of one config.

use super::certificate::Certificate;
use super::challenges::Challenges;
use super::server::Server;
use super::upstream::Upstream;
use crate::config::Acme;
use crate::config::CertificateFiles;
use crate::config::Listener;
use crate::config::Problem;
use crate::config::Settings;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use std::time::SystemTime;

/// A certificate that is still valid for less than this is worth a warning.
const SHORT: Duration = Duration::from_hours(14 * 24);

/// All that TLS needs of one config: loaded, checked, and not changed any more.
#[derive(Debug, Default)]
pub struct Material {
    /// In the order of the settings; none for a listener without TLS.
    pub listeners: Vec<Option<Arc<Server>>>,
    /// In the order of the settings; none for a service without TLS to its upstreams.
    pub upstreams: Vec<Option<Arc<Upstream>>>,
    /// Of the admin API over TCP; none where it is off, or spoken in the clear.
    pub admin: Option<Arc<Server>>,
    /// What proves to certificate authorities that names are served here. The same over all reloads.
    pub challenges: Arc<Challenges>,
}

/// Where the certificates lie that get themselves and are shown at `listener`; not all need to be there yet.
fn ordered(listener: &Listener, settings: &Settings) -> Vec<CertificateFiles> {
    let hosts = settings.acme.hosts.iter().filter(|_| listener.acme);
    let files = hosts.map(|host| Acme::certificate_file(&settings.state.dir, host));
    files
        .map(|file| CertificateFiles {
            chain: file.clone(),
            key: file,
        })
        .collect()
}

/// The address of the admin API, as if it were a listener.
fn admin(settings: &Settings) -> Option<Listener> {
    let tcp = settings.admin_api.tcp.as_ref()?;
    Some(Listener {
        http2: false,
        certificates: vec![tcp.certificate.clone()?],
        ..Listener::plain(tcp.address)
    })
}

impl Material {
    /// Loads every file that `settings` name. Listeners keep their place in `before`, services their name.
    ///
    /// # Errors
    /// Every file that cannot be used; never empty. A certificate that has expired is only refused where it
    /// would replace one that has not.
    pub fn load(settings: &Settings, before: Option<&Self>) -> Result<Self, Vec<Problem>> {
        let challenges = before.map_or_else(Arc::default, |it| it.challenges.clone());
        let mut problems = Vec::new();
        let mut listeners = Vec::new();
        for (at, listener) in settings.listeners.iter().enumerate() {
            let before = before
                .and_then(|it| it.listeners.get(at))
                .and_then(Option::as_ref);
            let server = listener
                .is_tls()
                .then(|| {
                    Server::load(
                        listener,
                        (&ordered(listener, settings), &challenges),
                        before,
                    )
                })
                .transpose();
            listeners.push(server.unwrap_or_else(|found| {
                problems.extend(found);
                None
            }));
        }
        let workers = settings.runtime.workers;
        let mut upstreams = Vec::new();
        for service in &settings.services {
            let load = |tls| {
                let before = before.and_then(|it| it.upstream_like(tls));
                Upstream::load(tls, workers, before)
            };
            let upstream = service.upstream_tls.as_ref().map(load).transpose();
            upstreams.push(upstream.unwrap_or_else(|problem| {
                problems.push(problem);
                None
            }));
        }
        let before_admin = before.and_then(|it| it.admin.as_ref());
        let admin = admin(settings).map(|it| Server::load(&it, (&[], &challenges), before_admin));
        let admin = admin.transpose().unwrap_or_else(|found| {
            problems.extend(found);
            None
        });
        let loaded = Self {
            listeners,
            upstreams,
            admin,
            challenges,
        };
        if let Some(before) = before {
            problems.extend(loaded.worse_than(before, SystemTime::now()));
        }
        if problems.is_empty() {
            Ok(loaded)
        } else {
            Err(problems)
        }
    }

    fn upstream_like(&self, settings: &crate::config::UpstreamTls) -> Option<&Arc<Upstream>> {
        let all = self.upstreams.iter().flatten();
        all.into_iter().find(|it| it.settings == *settings)
    }

    /// How the upstreams of the service at this place are spoken to.
    #[must_use]
    pub fn upstream(&self, at: usize) -> Option<Arc<Upstream>> {
        self.upstreams.get(at).cloned().flatten()
    }

    /// Every certificate of every listener, with the listener's place; that of the admin API comes last.
    pub fn certificates(&self) -> impl Iterator<Item = (usize, &Arc<Certificate>)> {
        let all = self.listeners.iter().chain([&self.admin]);
        all.enumerate().flat_map(|(at, server)| {
            let all = server.iter().flat_map(|server| &server.certificates);
            all.map(move |certificate| (at, certificate))
        })
    }

    /// Certificates that have expired where those before them have not.
    fn worse_than(&self, before: &Self, now: SystemTime) -> Vec<Problem> {
        let good_before = |(at, one): &(usize, &Arc<Certificate>)| {
            before.certificates().any(|(place, other)| {
                place == *at && other.files == one.files && other.left(now).is_some()
            })
        };
        let expired = |(_, one): &(usize, &Arc<Certificate>)| one.left(now).is_none();
        self.certificates()
            .filter(expired)
            .filter(good_before)
            .map(|(_, one)| {
                super::certificate::problem(
                    &one.files.chain,
                    format!("it expired {} days ago", one.days_over(now)),
                    "put a valid one in its place; the one in force still is",
                )
            })
            .collect()
    }

    /// What an operator should do something about soon, one line each.
    #[must_use]
    pub fn warnings(&self, now: SystemTime) -> Vec<String> {
        let mut warnings: Vec<String> = Vec::new();
        for (_, certificate) in self.certificates() {
            let file = certificate.files.chain.display();
            let names = certificate.names_in_words();
            let told = match certificate.left(now) {
                None => format!("{file}: the certificate for {names} has expired"),
                Some(_) if certificate.is_early(now) => {
                    format!("{file}: the certificate for {names} is not valid yet")
                }
                Some(left) if left < SHORT => format!(
                    "{file}: the certificate for {names} expires in {} days",
                    certificate.days_left(now)
                ),
                Some(_) => continue,
            };
            if !warnings.contains(&told) {
                warnings.push(told);
            }
        }
        warnings
    }

    /// What became of the certificates, one line each; empty when they are the same.
    #[must_use]
    pub fn changes_since(&self, before: &Self) -> Vec<String> {
        let now = SystemTime::now();
        let known = |one: &Certificate| {
            let mut all = before.certificates();
            all.any(|(_, other)| other.files == one.files && other.digest == one.digest)
        };
        let mut lines = Vec::new();
        for (_, one) in self.certificates().filter(|(_, one)| !known(one)) {
            let line = format!(
                "certificate {} ({}), {} days left",
                one.files.chain.display(),
                one.names_in_words(),
                one.days_left(now)
            );
            if !lines.contains(&line) {
                lines.push(line);
            }
        }
        if lines.is_empty() && !self.is_as(before) {
            lines.push("CAs that are trusted changed".to_owned());
        }
        lines
    }

    /// Nothing was loaded anew.
    fn is_as(&self, before: &Self) -> bool {
        fn same<T>(all: &[Option<Arc<T>>], others: &[Option<Arc<T>>]) -> bool {
            let pairs = all.iter().zip(others);
            let mut equal = pairs.map(|(one, other)| match (one, other) {
                (Some(one), Some(other)) => Arc::ptr_eq(one, other),
                (one, other) => one.is_none() && other.is_none(),
            });
            all.len() == others.len() && equal.all(|equal| equal)
        }
        let admin = |material: &Self| [material.admin.clone()];
        same(&self.listeners, &before.listeners)
            && same(&self.upstreams, &before.upstreams)
            && same(&admin(self), &admin(before))
    }

    /// Every file that was read.
    #[must_use]
    pub fn files(settings: &Settings) -> Vec<PathBuf> {
        let mut files = Vec::new();
        let admin = admin(settings);
        let all = settings.listeners.iter().chain(&admin);
        for listener in all.filter(|it| it.is_tls()) {
            let pairs = listener.certificates.iter();
            files.extend(pairs.flat_map(|pair| [pair.chain.clone(), pair.key.clone()]));
            files.extend(listener.tls.client_auth.ca().cloned());
            files.extend(
                ordered(listener, settings)
                    .into_iter()
                    .map(|pair| pair.chain),
            );
        }
        let upstreams = settings
            .services
            .iter()
            .filter_map(|it| it.upstream_tls.as_ref());
        files.extend(upstreams.filter_map(|tls| tls.ca.clone()));
        files.sort();
        files.dedup();
        files
    }
}
