//! Links to a slot that is not active: made here, followed where requests come in.

use super::conductor::Conductor;
use super::events::About;
use super::message::Answer;
use super::message::Denied;
use super::underway::audit;
use crate::api::EventKind;
use crate::api::PreviewLink;
use crate::api::SCHEMA;
use crate::live::preview;
use crate::switch::Actor;
use crate::switch::Moment;
use aws_lc_rs::rand;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

/// Somebody asks for a link.
#[derive(Debug)]
pub(super) struct PreviewMessage {
    pub(super) service: String,
    pub(super) slot: String,
    pub(super) by: Actor,
    pub(super) answer: Answer<Result<PreviewLink, Denied>>,
}

impl Conductor {
    pub(super) fn preview(&mut self, message: PreviewMessage) {
        let link = self.link(&message.service, &message.slot, &message.by);
        // Whoever left needs no answer.
        drop(message.answer.send(link));
    }

    /// Its address begins with the path: control does not know what is listened on.
    fn link(&mut self, service: &str, slot: &str, by: &Actor) -> Result<PreviewLink, Denied> {
        let at = self.find(service)?;
        let now = self.jobs.clock.now();
        let service = &mut self.services[at];
        let settings = &service.settings.preview;
        if !settings.enabled {
            return Err(Denied::Preview(format!(
                "previews are off; write `enabled = true` under [service.{}.preview]",
                service.name
            )));
        }
        let slots = service.settings.slots.iter();
        let found = slots.map(|it| &it.name).find(|it| it.as_str() == slot);
        let Some(found) = found.cloned() else {
            let slots = service.settings.slots.iter();
            return Err(Denied::UnknownSlot {
                asked: slot.to_owned(),
                slots: slots.map(|it| it.name.to_string()).collect(),
            });
        };
        let mut random = [0; 18];
        rand::fill(&mut random).map_err(|_| Denied::Preview("no random numbers".to_owned()))?;
        let token = BASE64_URL_SAFE_NO_PAD.encode(random);
        let until = preview::seconds() + settings.link_age.as_secs();
        service.links = service.links.with(&token, found.clone(), until);
        let name = service.name.to_string();
        let expires = super::clock::stamp(Moment(until * 1000));
        self.publish();
        tracing::info!(service = name, slot = %found, actor = %by, "preview link made");
        let mut record = audit(now, by, "preview");
        record.service.clone_from(&name);
        record.to = Some(found.to_string());
        record
            .details
            .push(format!("a link that is good once, until {expires}"));
        self.finish(&record);
        let kind = EventKind::PreviewLink {
            slot: found.to_string(),
            by: by.to_string(),
        };
        self.jobs.events.tell(About::service(&name), kind);
        Ok(PreviewLink {
            schema: SCHEMA,
            slot: found.to_string(),
            url: format!("/.switchd/preview/{token}"),
            expires,
        })
    }
}
