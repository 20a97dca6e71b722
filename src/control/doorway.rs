//! Who may come in over TCP, and with which TLS: published by the conductor, read by the admin API.

use super::conductor::Conductor;
use crate::config::AdminToken;
use crate::config::Settings;
use crate::tls::Material;
use crate::tls::Server;
use std::sync::Arc;

/// As of the settings in force. Whoever comes in looks at it anew.
#[derive(Debug, Default)]
pub struct Doorway {
    pub tokens: Vec<Arc<AdminToken>>,
    /// None where the API is spoken in the clear, on this machine only.
    pub tls: Option<Arc<Server>>,
}

impl Doorway {
    pub(super) fn of(settings: &Settings, material: &Material) -> Self {
        let tokens = settings.admin_api.tokens.iter();
        Self {
            tokens: tokens.map(|token| Arc::new(token.clone())).collect(),
            tls: material.admin.clone(),
        }
    }
}

impl Conductor {
    /// A token that is gone opens nothing from now on; a renewed certificate is shown from now on.
    pub(super) fn open_doors(&self) {
        let doorway = Doorway::of(&self.settings, &self.certificates.material);
        self.doorway.store(Arc::new(doorway));
    }
}
