//! Hooks, shown and tested.

use super::actions::Asked;
use super::answer;
use super::answer::Answer;
use super::problem;
use super::problem::Wrong;
use super::server::Admin;
use crate::api::HookTested;
use crate::api::SCHEMA;
use crate::control::Tested;

impl Admin {
    pub(super) fn hooks(&self) -> Answer {
        answer::json(&self.control.hooks().list())
    }

    pub(super) async fn test_hook(&self, name: &str, asked: &Asked<'_>) -> Result<Answer, Wrong> {
        let tested = self.control.hooks().test(name, &asked.by).await;
        let mut record = self.control.record(&asked.by, "hook_test");
        record.details.push(format!("hook {name}"));
        let answer = match tested {
            Tested::Unknown(names) => {
                let known = match names[..] {
                    [] => "there are none; add [[hook]] to the config".to_owned(),
                    _ => format!("the hooks are {}", names.join(", ")),
                };
                let detail = format!("there is no hook {name:?}; {known}");
                return Err(problem::unknown(detail));
            }
            Tested::Delivered(took) => {
                let took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
                record.took_ms = Some(took_ms);
                Ok(answer::json(&HookTested {
                    schema: SCHEMA,
                    name: name.to_owned(),
                    took_ms,
                }))
            }
            Tested::Failed(why) => {
                "failed".clone_into(&mut record.result);
                record.details.push(why.clone());
                Err(problem::undelivered(format!(
                    "hook {name} was not told: {why}"
                )))
            }
        };
        self.control.keep(record).await;
        answer
    }
}
