//! One line of the table of routes: what is asked for, by whom, with what, and what comes back.

use super::routes::Parts;
use super::routes::Route;
use crate::config::Role;
use http::Method;
use schemars::JsonSchema;
use schemars::Schema;
use schemars::SchemaGenerator;

/// Draws the schema of one document.
pub(super) type Draw = fn(&mut SchemaGenerator) -> Schema;

/// One route, as the router finds it and as the `OpenAPI` document tells it.
#[derive(Clone, Copy)]
pub(super) struct Entry {
    pub(super) verb: Verb,
    /// Segments in braces stand for any text: `{service}`, `{name}` and `{id}`, which is a number.
    pub(super) path: &'static str,
    pub(super) route: for<'a> fn(&Parts<'a>) -> Route<'a>,
    pub(super) says: &'static str,
    pub(super) role: Role,
    pub(super) concerns: Concerns,
    pub(super) parameters: &'static [Parameter],
    pub(super) body: Body,
    pub(super) answer: Told,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verb {
    Get,
    Post,
    Delete,
}

/// What somebody who may see some services only may do here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Concerns {
    /// Nothing: it is about switchd as a whole.
    Daemon,
    /// What belongs to their services; the action leaves out the rest.
    Shown,
    /// The service that the path names.
    Service,
}

/// What may stand behind the `?`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Parameter {
    pub(super) name: &'static str,
    pub(super) says: &'static str,
    pub(super) is_number: bool,
}

pub(super) const fn text(name: &'static str, says: &'static str) -> Parameter {
    Parameter {
        name,
        says,
        is_number: false,
    }
}

pub(super) const fn number(name: &'static str, says: &'static str) -> Parameter {
    Parameter {
        name,
        says,
        is_number: true,
    }
}

#[derive(Clone, Copy)]
pub(super) enum Body {
    None,
    /// May be left out: every field has a default.
    Optional(Draw),
    Required(Draw),
}

#[derive(Clone, Copy)]
pub(super) enum Told {
    Document(Draw),
    /// One document per line.
    Lines(Draw),
    Text(&'static str),
    /// This very description.
    OpenApi,
}

impl Verb {
    pub(super) fn method(self) -> Method {
        match self {
            Self::Get => Method::GET,
            Self::Post => Method::POST,
            Self::Delete => Method::DELETE,
        }
    }

    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Post => "post",
            Self::Delete => "delete",
        }
    }
}

const fn entry(
    verb: Verb,
    path: &'static str,
    route: for<'a> fn(&Parts<'a>) -> Route<'a>,
    says: &'static str,
) -> Entry {
    Entry {
        verb,
        path,
        route,
        says,
        role: match verb {
            Verb::Get => Role::View,
            Verb::Post => Role::Operate,
            Verb::Delete => Role::Admin,
        },
        concerns: Concerns::Daemon,
        parameters: &[],
        body: Body::None,
        answer: Told::Text("text/plain"),
    }
}

/// For whoever may look.
pub(super) const fn get(
    path: &'static str,
    route: for<'a> fn(&Parts<'a>) -> Route<'a>,
    says: &'static str,
) -> Entry {
    entry(Verb::Get, path, route, says)
}

/// For whoever may operate.
pub(super) const fn post(
    path: &'static str,
    route: for<'a> fn(&Parts<'a>) -> Route<'a>,
    says: &'static str,
) -> Entry {
    entry(Verb::Post, path, route, says)
}

/// For whoever may do everything.
pub(super) const fn delete(
    path: &'static str,
    route: for<'a> fn(&Parts<'a>) -> Route<'a>,
    says: &'static str,
) -> Entry {
    entry(Verb::Delete, path, route, says)
}

fn draw<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}

impl Entry {
    pub(super) const fn by(self, role: Role) -> Self {
        Self { role, ..self }
    }

    /// The path names the service that it is about.
    pub(super) const fn of_service(self) -> Self {
        let concerns = Concerns::Service;
        Self { concerns, ..self }
    }

    /// The action itself leaves out what the caller may not see.
    pub(super) const fn shown_in_part(self) -> Self {
        let concerns = Concerns::Shown;
        Self { concerns, ..self }
    }

    pub(super) const fn with(self, parameters: &'static [Parameter]) -> Self {
        Self { parameters, ..self }
    }

    pub(super) const fn takes<T: JsonSchema>(self) -> Self {
        let body = Body::Required(draw::<T>);
        Self { body, ..self }
    }

    pub(super) const fn may_take<T: JsonSchema>(self) -> Self {
        let body = Body::Optional(draw::<T>);
        Self { body, ..self }
    }

    pub(super) const fn answers<T: JsonSchema>(self) -> Self {
        let answer = Told::Document(draw::<T>);
        Self { answer, ..self }
    }

    pub(super) const fn streams<T: JsonSchema>(self) -> Self {
        let answer = Told::Lines(draw::<T>);
        Self { answer, ..self }
    }

    pub(super) const fn shows(self, content_type: &'static str) -> Self {
        let answer = Told::Text(content_type);
        Self { answer, ..self }
    }

    pub(super) const fn describes_all(self) -> Self {
        let answer = Told::OpenApi;
        Self { answer, ..self }
    }
}
