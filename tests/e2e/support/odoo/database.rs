//! What the colours of one Odoo share: Postgres, and the data directory with its sessions.

use super::content::Content;
use std::collections::BTreeMap;
use std::collections::HashMap;
use std::io::Read;
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// The only database; its user is `admin` with the password `admin`.
pub(crate) const NAME: &str = "prod";
pub(crate) const USER: &str = "admin";
pub(crate) const PASSWORD: &str = "admin";

/// What is installed at first, as in the code of every colour that says nothing else.
pub(crate) const MODULES: &[(&str, &str)] = &[
    ("base", "18.0.1.3"),
    ("web", "18.0.1.0"),
    ("lab_mod", "18.0.1.0"),
];

/// One database and one data directory; clones are the same.
#[derive(Clone)]
pub(crate) struct Database(Arc<State>, Arc<DataDir>);

struct State {
    is_down: AtomicBool,
    /// The real one that this database is in, where there is one.
    postgres: Mutex<Option<PathBuf>>,
    pool: Mutex<Vec<Session>>,
    /// Columns that the code of these colours lacks or misses: the database was migrated under them.
    out_of_step: Mutex<Vec<String>>,
    base_url: Mutex<String>,
    attachments: Mutex<HashMap<u64, Attachment>>,
    partners: Mutex<HashMap<u64, String>>,
    /// `ir.module.module`: the version of each that is installed.
    modules: Mutex<BTreeMap<String, String>>,
    /// Names and states of modules that wait for something.
    pending: Mutex<Vec<(String, String)>>,
    /// By the bundle's name: the hash of the code that built it last.
    bundles: Mutex<HashMap<String, String>>,
    next_id: AtomicU64,
    /// Queries that run, those of killed workers among them.
    queries: AtomicUsize,
    writes: AtomicU64,
}

#[derive(Default)]
struct DataDir {
    /// By session id: who is logged in.
    sessions: Mutex<HashMap<String, String>>,
}

/// `ir.attachment`
#[derive(Debug, Clone)]
pub(crate) struct Attachment {
    pub(crate) name: String,
    pub(crate) mimetype: String,
    pub(crate) content: Content,
}

/// A migration that met a writer. Nothing changed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct SerializationFailure;

/// A query that runs until this is dropped.
pub(super) struct Query(Database);

impl Drop for Query {
    fn drop(&mut self) {
        (self.0).0.queries.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Database {
    pub(crate) fn new() -> Self {
        Self(
            Arc::new(State {
                is_down: AtomicBool::new(false),
                postgres: Mutex::default(),
                pool: Mutex::default(),
                out_of_step: Mutex::default(),
                base_url: Mutex::new("http://localhost:8069".to_owned()),
                attachments: Mutex::default(),
                partners: Mutex::new(HashMap::from([(1, "My Company".to_owned())])),
                modules: Mutex::new(
                    MODULES
                        .iter()
                        .map(|(name, version)| ((*name).to_owned(), (*version).to_owned()))
                        .collect(),
                ),
                pending: Mutex::default(),
                bundles: Mutex::default(),
                next_id: AtomicU64::new(7),
                queries: AtomicUsize::new(0),
                writes: AtomicU64::new(0),
            }),
            Arc::default(),
        )
    }

    /// The same database under another data directory: sessions of one are unknown to the other.
    pub(crate) fn with_data_dir_of_its_own(&self) -> Self {
        Self(Arc::clone(&self.0), Arc::default())
    }

    /// Postgres stops or comes back.
    pub(crate) fn set_down(&self, is_down: bool) {
        self.0.is_down.store(is_down, Ordering::SeqCst);
    }

    /// From now on it is there when that socket of a real Postgres takes sessions.
    pub(crate) fn lives_in(&self, postgres: &Path) {
        *self.0.postgres.lock().unwrap() = Some(postgres.to_owned());
    }

    pub(super) fn is_down(&self) -> bool {
        let postgres = self.0.postgres.lock().unwrap().clone();
        let is_gone = postgres.is_some_and(|socket| !self.has_session(&socket));
        is_gone || self.0.is_down.load(Ordering::SeqCst)
    }

    /// A session of the pool that is dead is replaced, as psycopg2 does at the next request.
    fn has_session(&self, socket: &Path) -> bool {
        let pooled = || self.0.pool.lock().unwrap().pop();
        while let Some(mut session) = pooled() {
            if session.answers() {
                self.0.pool.lock().unwrap().push(session);
                return true;
            }
        }
        let opened = Session::open(socket);
        let is_there = opened.is_ok();
        self.0.pool.lock().unwrap().extend(opened);
        is_there
    }

    /// `ir.config_parameter`'s `web.base.url`: whoever of the admins logs in on a page rewrites it.
    pub(crate) fn base_url(&self) -> String {
        self.0.base_url.lock().unwrap().clone()
    }

    pub(super) fn set_base_url(&self, url: String) {
        *self.0.base_url.lock().unwrap() = url;
    }

    /// The database no longer is what the code of `colour` expects: nobody can log in there, all health is well.
    pub(crate) fn migrate_under(&self, colour: &str) {
        let mut colours = self.0.out_of_step.lock().unwrap();
        colours.push(colour.to_owned());
    }

    pub(super) fn is_out_of_step_with(&self, colour: &str) -> bool {
        let colours = self.0.out_of_step.lock().unwrap();
        colours.iter().any(|known| known == colour)
    }

    /// A module is installed, or updated to that version.
    pub(crate) fn install(&self, module: &str, version: &str) {
        let mut modules = self.0.modules.lock().unwrap();
        modules.insert(module.to_owned(), version.to_owned());
    }

    pub(super) fn modules(&self) -> BTreeMap<String, String> {
        self.0.modules.lock().unwrap().clone()
    }

    /// A module is left in a state such as `to upgrade`.
    pub(crate) fn leave_pending(&self, module: &str, state: &str) {
        let mut pending = self.0.pending.lock().unwrap();
        pending.push((module.to_owned(), state.to_owned()));
    }

    pub(super) fn pending(&self) -> Vec<(String, String)> {
        self.0.pending.lock().unwrap().clone()
    }

    /// Records of `res.partner`.
    pub(crate) fn partner_count(&self) -> usize {
        self.partners().len()
    }

    /// Sessions of people who are logged in, under this data directory.
    pub(crate) fn session_count(&self) -> usize {
        self.1.sessions.lock().unwrap().len()
    }

    /// A migration that rewrites a table, for as long as `meanwhile` takes: it fails when anything is written in
    /// that time, as all four of four did.
    pub(crate) async fn migrate(
        &self,
        meanwhile: impl Future<Output = ()>,
    ) -> Result<(), SerializationFailure> {
        let before = self.writes();
        meanwhile.await;
        if self.writes() == before && self.queries() == 0 {
            Ok(())
        } else {
            Err(SerializationFailure)
        }
    }

    /// Transactions that changed something.
    pub(crate) fn writes(&self) -> u64 {
        self.0.writes.load(Ordering::SeqCst)
    }

    pub(super) fn wrote(&self) {
        self.0.writes.fetch_add(1, Ordering::SeqCst);
    }

    /// What runs in Postgres now.
    pub(crate) fn queries(&self) -> usize {
        self.0.queries.load(Ordering::SeqCst)
    }

    pub(super) fn query(&self) -> Query {
        self.0.queries.fetch_add(1, Ordering::SeqCst);
        Query(self.clone())
    }

    pub(super) fn next_id(&self) -> u64 {
        self.0.next_id.fetch_add(1, Ordering::SeqCst)
    }

    pub(crate) fn attach(&self, name: &str, mimetype: &str, content: Content) -> u64 {
        let id = self.next_id();
        let attachment = Attachment {
            name: name.to_owned(),
            mimetype: mimetype.to_owned(),
            content,
        };
        self.0.attachments.lock().unwrap().insert(id, attachment);
        id
    }

    pub(crate) fn attachment(&self, id: u64) -> Option<Attachment> {
        self.0.attachments.lock().unwrap().get(&id).cloned()
    }

    pub(super) fn partners(&self) -> std::sync::MutexGuard<'_, HashMap<u64, String>> {
        self.0.partners.lock().unwrap()
    }

    /// The hash under which the bundle lies in the database.
    pub(super) fn bundle(&self, name: &str) -> Option<String> {
        self.0.bundles.lock().unwrap().get(name).cloned()
    }

    /// Stores a bundle; the one of other code is deleted by that.
    pub(super) fn build_bundle(&self, name: &str, hash: &str) {
        let mut bundles = self.0.bundles.lock().unwrap();
        bundles.insert(name.to_owned(), hash.to_owned());
    }

    /// Somebody logs in; the id of the session.
    pub(crate) fn log_in(&self, user: &str) -> String {
        let id = fresh_session_id();
        let mut sessions = self.1.sessions.lock().unwrap();
        sessions.insert(id.clone(), user.to_owned());
        id
    }

    pub(super) fn log_out(&self, session: &str) {
        self.1.sessions.lock().unwrap().remove(session);
    }

    /// Who is logged in under this session.
    pub(super) fn user_of(&self, session: &str) -> Option<String> {
        self.1.sessions.lock().unwrap().get(session).cloned()
    }
}

/// A session in a real Postgres, kept as Odoo's pool keeps them.
struct Session(UnixStream);

impl Session {
    fn open(socket: &Path) -> std::io::Result<Self> {
        let mut stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(Duration::from_secs(2)))?;
        let parameters = b"user\0postgres\0database\0postgres\0\0";
        let mut greeting = vec![0, 0, 0, 0, 0, 3, 0, 0];
        greeting.extend(parameters);
        greeting[3] = u8::try_from(greeting.len()).expect("it is short");
        stream.write_all(&greeting)?;
        let mut session = Self(stream);
        session.until_ready()?;
        Ok(session)
    }

    fn answers(&mut self) -> bool {
        let sql = b"Q\0\0\0\x0dSELECT 1\0";
        self.0.write_all(sql).is_ok() && self.until_ready().is_ok()
    }

    /// Reads messages up to the one that says that the next query may come; an error is one.
    fn until_ready(&mut self) -> std::io::Result<()> {
        loop {
            let mut head = [0; 5];
            self.0.read_exact(&mut head)?;
            let [kind, a, b, c, d] = head;
            let length = u32::from_be_bytes([a, b, c, d]).saturating_sub(4);
            let mut rest = vec![0; usize::try_from(length).expect("it is short")];
            self.0.read_exact(&mut rest)?;
            match kind {
                b'Z' => return Ok(()),
                b'E' => return Err(std::io::ErrorKind::ConnectionRefused.into()),
                _ => {}
            }
        }
    }
}

/// 84 characters; a file exists only once somebody has logged in.
pub(super) fn fresh_session_id() -> String {
    let letters = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_";
    (0..84)
        .map(|_| char::from(letters[fastrand::usize(..letters.len())]))
        .collect()
}
