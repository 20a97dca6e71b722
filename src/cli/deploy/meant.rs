//! Which config and which of its services a deploy is of, and where its deploys are kept.

use super::args::DeployArgs;
use super::folder::{self, is_untrusted};
use super::places::Places;
use crate::cli::failure::{Exit, Failure};
use crate::config::{Service, Settings};
use std::fmt::Write;
use std::path::{Path, PathBuf};

/// The config, and which of its services is meant.
pub(super) struct Meant {
    pub(super) settings: Settings,
    pub(super) config: PathBuf,
    at: usize,
}

impl Meant {
    /// As [`Self::load`], where programs of it are going to run: nobody else may be able to write them.
    pub(super) fn to_run(args: &DeployArgs, named: Option<&str>) -> Result<Self, Failure> {
        let config = std::path::absolute(&args.config).map_err(Failure::Output)?;
        match folder::check_file(&config) {
            Err(cause) if is_untrusted(&cause) => Err(Failure::Ended {
                exit: Exit::Refused,
                text: format!(
                    "refused, and nothing was run: {cause}\n  the config says what a deploy runs: it and every folder \
                     above it must belong to root or to whoever deploys, and nobody else may write there"
                ),
            }),
            // Whatever else is wrong with it is told by reading it.
            _ => Self::load(args, named),
        }
    }

    pub(super) fn load(args: &DeployArgs, named: Option<&str>) -> Result<Self, Failure> {
        let config = std::path::absolute(&args.config).map_err(Failure::Output)?;
        let settings = crate::config::load(&config).map_err(|problems| {
            Failure::Usage(format!(
                "the config is not valid, nothing was done:\n{}",
                crate::config::summary(&problems).trim_end()
            ))
        })?;
        let names: Vec<&str> = settings
            .services
            .iter()
            .map(|service| service.name.as_str())
            .collect();
        let at = match named {
            Some(named) => names.iter().position(|name| *name == named),
            None => (names.len() == 1).then_some(0),
        };
        let Some(at) = at else {
            let names = names.join(", ");
            return Err(Failure::Usage(match named {
                Some(named) => format!(
                    "there is no service {named}; {} has {names}",
                    config.display()
                ),
                None => format!(
                    "which service? {} has {names}\n  name one: --service NAME, or SWITCHD_SERVICE",
                    config.display()
                ),
            }));
        };
        Ok(Self {
            settings,
            config,
            at,
        })
    }

    pub(super) fn service(&self) -> &Service {
        &self.settings.services[self.at]
    }

    /// Where deploys of this service are kept.
    pub(super) fn dir(&self) -> Result<PathBuf, Failure> {
        let service = self.service();
        let dir = match &service.deploy.dir {
            Some(dir) => dir.clone(),
            None => own_dir()?,
        };
        Ok(dir.join(service.name.as_str()))
    }

    /// None when nothing has been deployed yet.
    pub(super) fn known_places(&self) -> Result<Option<Places>, Failure> {
        Places::open(&self.dir()?)
    }

    /// As [`Self::known_places`], where something must have been deployed.
    pub(super) fn places(&self) -> Result<Places, Failure> {
        if let Some(places) = self.known_places()? {
            return Ok(places);
        }
        let mut text = format!(
            "nothing has been deployed yet: {} holds no deploy",
            self.dir()?.display()
        );
        if let Some(words) = self.left_behind() {
            let _ = write!(text, "\n  {words}");
        }
        Err(Failure::Usage(text))
    }

    /// Earlier versions kept deploys below the state directory, where the daemon's user may write.
    pub(super) fn left_behind(&self) -> Option<String> {
        let service = self.service();
        if service.deploy.dir.is_some() {
            return None;
        }
        let old = self.settings.state.dir.join("deploys");
        let old = old.join(service.name.as_str());
        let mut entries = old.read_dir().ok()?;
        let is_journal = |name: &Path| name.extension().is_some_and(|it| it == "jsonl");
        entries
            .any(|entry| entry.is_ok_and(|it| is_journal(&it.path())))
            .then(|| {
                format!(
                    "deploys of an earlier version lie in {}: they are no longer read, as the daemon's user may write \
                     there; what one of them left half done is finished by hand",
                    old.display()
                )
            })
    }
}

/// A folder that belongs to whoever deploys, and never to the daemon's user.
fn own_dir() -> Result<PathBuf, Failure> {
    if rustix::process::geteuid().is_root() {
        return Ok("/var/lib/switchd-deploy".into());
    }
    let absolute = |name: &str| {
        let path = PathBuf::from(std::env::var_os(name)?);
        path.is_absolute().then_some(path)
    };
    let state = absolute("XDG_STATE_HOME");
    let state = state.or_else(|| Some(absolute("HOME")?.join(".local/state")));
    let state = state.ok_or_else(|| {
        Failure::Usage(
            "where are journals of deploys kept? neither XDG_STATE_HOME nor HOME is set\n  name a folder in \
             [service.NAME.deploy] dir"
                .to_owned(),
        )
    })?;
    Ok(state.join("switchd-deploy"))
}
