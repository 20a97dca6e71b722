//! The words every folder shares: names of slots, members and services, and the numbers that order them.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// Why a name cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a name is 1 to 63 of a-z, 0-9, '-' and '_', and starts with a letter or digit; got {0:?}")]
pub struct NameError(pub String);

macro_rules! name {
    ($(#[$doc:meta])* $type:ident) => {
        $(#[$doc])*
        ///
        /// Cheap to clone: the text is shared.
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
        #[serde(transparent)]
        pub struct $type(Arc<str>);

        impl $type {
            /// Takes a name that follows the rule of [`NameError`].
            ///
            /// # Errors
            /// [`NameError`] holds the text that was refused.
            pub fn new(text: &str) -> Result<Self, NameError> {
                let mut bytes = text.bytes();
                let first = bytes.next().is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
                let rest = bytes.all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_');
                match first && rest && text.len() <= 63 {
                    true => Ok(Self(text.into())),
                    false => Err(NameError(text.to_owned())),
                }
            }

            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $type {
            type Err = NameError;
            fn from_str(text: &str) -> Result<Self, NameError> {
                Self::new(text)
            }
        }

        impl TryFrom<String> for $type {
            type Error = NameError;
            fn try_from(text: String) -> Result<Self, NameError> {
                Self::new(&text)
            }
        }

        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                let text = String::deserialize(from)?;
                Self::new(&text).map_err(serde::de::Error::custom)
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name! {
    /// Which colour: `blue`, `green`, or any other name the operator gave.
    SlotName
}
name! {
    /// One of the ports that make up a slot (`http`, `websocket`); all flip together.
    MemberName
}
name! {
    /// One web application: its hosts, its slots, its rules.
    ServiceName
}

macro_rules! number {
    ($(#[$doc:meta])* $type:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, serde::Serialize, serde::Deserialize)]
        #[serde(transparent)]
        pub struct $type(pub u64);

        impl $type {
            #[must_use]
            pub fn next(self) -> Self {
                Self(self.0 + 1)
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number! {
    /// Which occupant of the active place: goes up by one each time traffic of a service moves.
    Generation
}
number! {
    /// Which published View; strictly increasing over all services while the daemon runs.
    Epoch
}
number! {
    /// One operation that moves traffic, or tries to; strictly increasing per service, over restarts too.
    FlipId
}
