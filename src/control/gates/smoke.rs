//! Creates a record, reads it and deletes it: a slot that can do that can work.

use super::check::Check;
use super::odoo::Call;
use super::odoo::Look;
use super::rpc::RpcFailure;
use serde_json::Value;
use serde_json::json;
use tokio::time::Instant;

/// What is written, and taken away again.
const PROBE: &str = "switchd gate probe";

enum Smoke {
    Failed(RpcFailure),
    Odd(String),
}

impl From<RpcFailure> for Smoke {
    fn from(failure: RpcFailure) -> Self {
        Self::Failed(failure)
    }
}

impl Look<'_> {
    /// Creates, reads, deletes, and looks that it is gone.
    pub(super) async fn smoke(&mut self, uid: u64) {
        let started = Instant::now();
        let check = match self.create_and_delete(uid).await {
            Ok(()) => Check::passed("smoke test", "created, read and deleted a res.partner"),
            Err(Smoke::Failed(failure)) => {
                Check::failed("smoke test", failure.to_string(), self.remedy(&failure))
            }
            Err(Smoke::Odd(said)) => Check::failed(
                "smoke test",
                said,
                format!("look at the log of the slot, and for a partner called {PROBE:?}"),
            ),
        };
        self.found(check, started);
    }

    async fn create_and_delete(&self, uid: u64) -> Result<(), Smoke> {
        let partner = |method, args| Call {
            model: "res.partner",
            method,
            args,
            options: json!({}),
        };
        let created = self
            .call(uid, partner("create", json!([{"name": PROBE}])))
            .await?;
        // Odoo creates one record for one, and a list for a list.
        let id = created.as_u64().or_else(|| created.pointer("/0")?.as_u64());
        let id = id.ok_or_else(|| Smoke::Odd(format!("create gave {created}")))?;
        let read = self.call(uid, partner("read", json!([[id]]))).await;
        let deleted = self.call(uid, partner("unlink", json!([[id]]))).await?;
        let read = read?;
        if read.pointer("/0/name").and_then(Value::as_str) != Some(PROBE) {
            return Err(Smoke::Odd(format!("partner {id} was not read back")));
        }
        if deleted != json!(true) {
            return Err(Smoke::Odd(format!("partner {id} was not deleted")));
        }
        Ok(())
    }
}
