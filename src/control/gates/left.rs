//! What database is the code of the active slot made for?
//!
//! The slot that traffic leaves may never have been gated: the first of all deploys migrates the database under it,
//! and nobody has looked before. Its code still says what it is made for, also after the migration.

use super::odoo::execute;
use super::odoo::installed_modules;
use super::trial::Trial;
use super::versions;
use crate::config::Gate;
use crate::config::OdooGate;
use std::time::Duration;

/// Traffic may be about to leave a slot that hangs: that must not take longer for its sake.
const PATIENCE: Duration = Duration::from_secs(5);

/// No database has this fingerprint.
const UNFIT: &str = "none: its code asks the database for what it lacks";

/// As a fingerprint; none where it cannot be told. It is no check: nothing of it stands in the way.
///
/// `uid` is whom the new slot knows: both have one database, and asking it needs no login.
pub(super) async fn wanted(
    trial: &Trial,
    gate: &Gate,
    odoo: &OdooGate,
    uid: u64,
) -> Option<String> {
    let active = trial.active.as_ref().filter(|active| !active.is_bad)?;
    let main = trial.members().into_iter().next()?;
    let asker = trial
        .active_askers(active, gate, &main)
        .into_iter()
        .next()?;
    let asked = execute(&asker, odoo, uid, installed_modules());
    let listed = tokio::time::timeout(PATIENCE, asked).await;
    // What we lacked says nothing of the gate that comes next.
    trial.lacked.take();
    match listed.ok()? {
        Ok(result) => {
            let modules = versions::modules(&result).filter(|modules| !modules.is_empty())?;
            Some(versions::wanted_by_code(&modules))
        }
        Err(failure) if failure.is_about_columns() => Some(UNFIT.to_owned()),
        Err(_) => None,
    }
}
