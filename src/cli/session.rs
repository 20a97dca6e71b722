//! One run of the command line: whom it talks to, about which service, and where it writes.

use super::args::Global;
use super::client::{Client, Document};
use super::failure::Failure;
use super::output;
use super::output::{Format, Output};
use super::style::Look;
use crate::api::Status;
use crate::switch::ServiceName;
use serde::de::DeserializeOwned;

#[derive(Debug)]
pub(super) struct Session {
    pub(super) client: Client,
    pub(super) output: Output,
    service: Option<ServiceName>,
}

impl Session {
    pub(super) fn new(global: &Global) -> Self {
        Self {
            client: Client::at(global.place()),
            output: Output::new(global),
            service: global.service.clone(),
        }
    }

    /// The service that is meant: the one that was named, or the only one there is.
    pub(super) async fn service(&self) -> Result<String, Failure> {
        if let Some(name) = &self.service {
            return Ok(name.to_string());
        }
        let status: Status = self.client.get("/v1/status").await?.read()?;
        let mut names: Vec<String> = status.services.into_iter().map(|s| s.name).collect();
        match names.len() {
            1 => Ok(names.remove(0)),
            _ => Err(Failure::Usage(format!(
                "which service? switchd serves {}\n  name one: --service NAME, or SWITCHD_SERVICE",
                names.join(", ")
            ))),
        }
    }

    /// The service that was named on the command line, if one was.
    pub(super) fn named_service(&self) -> Option<&str> {
        self.service.as_ref().map(ServiceName::as_str)
    }

    /// `/v1/services/NAME/VERB`.
    pub(super) async fn service_path(&self, verb: &str) -> Result<String, Failure> {
        let service = self.service().await?;
        Ok(format!("/v1/services/{service}/{verb}"))
    }

    /// Writes a document as it came, or rendered.
    pub(super) fn show<T: DeserializeOwned>(
        &self,
        document: &Document,
        render: impl Fn(&T, &Look) -> String,
    ) -> Result<(), Failure> {
        match self.output.format {
            Format::Json => output::print(&document.text),
            Format::Words => {
                let value: T = document.read()?;
                output::print(&render(&value, &self.output.look()))
            }
        }
    }
}
