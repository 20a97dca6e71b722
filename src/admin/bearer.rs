//! Who shows which token, and what it lets them do.

use super::entry::Concerns;
use super::problem::Wrong;
use super::problem::forbidden;
use super::routes::Found;
use super::sight::Sight;
use crate::config::AdminToken;
use crate::config::TokenHash;
use crate::control::Doorway;
use crate::switch::Actor;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use std::net::IpAddr;
use std::sync::Arc;

/// Somebody whose token is known.
#[derive(Debug, Clone)]
pub(super) struct Bearer {
    pub(super) token: Arc<AdminToken>,
    from: IpAddr,
}

impl Bearer {
    /// None without a token, or with one that is not known. Every known token is compared, whether one
    /// fits already or not.
    pub(super) fn of(headers: &HeaderMap, from: IpAddr, doorway: &Doorway) -> Option<Self> {
        let shown = TokenHash::of(shown(headers)?);
        let mut found = None;
        for token in &doorway.tokens {
            if token.hash.is(&shown) {
                found = Some(Arc::clone(token));
            }
        }
        found.map(|token| Self { token, from })
    }

    /// Whether the token still opens what it opened.
    pub(super) fn is_known(&self, doorway: &Doorway) -> bool {
        doorway.tokens.iter().any(|token| **token == *self.token)
    }

    pub(super) fn actor(&self) -> Actor {
        Actor(format!("token {} from {}", self.token.name, self.from))
    }

    pub(super) fn sight(&self) -> Sight {
        match &self.token.services[..] {
            [] => Sight::Everything,
            services => Sight::Services(services.iter().map(ToString::to_string).collect()),
        }
    }

    /// # Errors
    /// 403 for a route that the token's role or its services do not reach.
    pub(super) fn may(&self, found: &Found<'_>) -> Result<(), Wrong> {
        let AdminToken { name, role, .. } = &*self.token;
        let needed = found.entry.role;
        if *role < needed {
            return Err(forbidden(&format!(
                "token {name} has the role {}, and this needs {}",
                role.word(),
                needed.word()
            )));
        }
        match found.entry.concerns {
            Concerns::Shown => Ok(()),
            Concerns::Service => self.sight().allow(Some(found.parts.service)),
            Concerns::Daemon if self.token.services.is_empty() => Ok(()),
            Concerns::Daemon => Err(forbidden(&format!(
                "token {name} is for some services alone, and this concerns switchd as a whole"
            ))),
        }
    }
}

fn shown(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let value = values.next()?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    let is_bearer = scheme.eq_ignore_ascii_case("bearer");
    // Two of them are one too many to say who asks.
    (is_bearer && values.next().is_none()).then(|| token.trim())
}

#[cfg(test)]
mod tests {
    use super::super::routes;
    use super::super::table::TABLE;
    use super::*;
    use crate::config::Role;
    use crate::switch::ServiceName;
    use http::HeaderValue;

    fn bearer(role: Role, services: &[&str]) -> Bearer {
        let services = services.iter().map(|it| ServiceName::new(it).unwrap());
        let token = AdminToken {
            name: "ci".to_owned(),
            hash: TokenHash::of("right"),
            role,
            services: services.collect(),
        };
        Bearer {
            token: Arc::new(token),
            from: IpAddr::from([10, 0, 0, 7]),
        }
    }

    fn headers(values: &[&'static str]) -> HeaderMap {
        let values = values.iter();
        let pair = |value: &&'static str| (AUTHORIZATION, HeaderValue::from_static(value));
        values.map(pair).collect()
    }

    #[test]
    fn only_a_known_token_makes_a_bearer() {
        let known = bearer(Role::View, &[]);
        let doorway = Doorway {
            tokens: vec![known.token.clone()],
            tls: None,
        };
        for (shown, is_one) in [
            (&["Bearer right"][..], true),
            (&["bearer  right "], true),
            (&["Bearer wrong"], false),
            (&["Bearer "], false),
            (&["Basic right"], false),
            (&["right"], false),
            (&[], false),
            (&["Bearer right", "Bearer right"], false),
        ] {
            let mut map = HeaderMap::new();
            for (name, value) in &headers(shown) {
                map.append(name, value.clone());
            }
            if shown.len() == 2 {
                map.append(AUTHORIZATION, HeaderValue::from_static(shown[1]));
            }
            let found = Bearer::of(&map, known.from, &doorway);
            assert_eq!(found.is_some(), is_one, "{shown:?}");
        }
        assert!(!known.is_known(&Doorway::default()), "it was revoked");
        assert_eq!(known.actor().0, "token ci from 10.0.0.7");
    }

    /// Every line of the table, for every kind of token: nobody reaches what the table does not say.
    #[test]
    fn roles_and_services_hold_on_every_route() {
        let mut tried = 0;
        for entry in TABLE {
            let path = entry.path.replace("{id}", "7").replace("{name}", "team");
            for service in ["mine", "other"] {
                let path = path.replace("{service}", service);
                let found = routes::find(&entry.verb.method(), &path).ok().unwrap();
                for role in [Role::View, Role::Operate, Role::Admin] {
                    let reaches = role >= entry.role;
                    let all = bearer(role, &[]).may(&found).is_ok();
                    assert_eq!(all, reaches, "{role:?} {path}");
                    let is_mine = match entry.concerns {
                        Concerns::Daemon => false,
                        Concerns::Shown => true,
                        Concerns::Service => service == "mine",
                    };
                    let some = bearer(role, &["mine"]).may(&found).is_ok();
                    assert_eq!(some, reaches && is_mine, "{role:?} of mine: {path}");
                    tried += 1;
                }
            }
        }
        assert!(tried > 60, "{tried}");
    }
}
