//! The description of the API (`OpenAPI` 3.1), written from the table that the router looks into and from
//! the documents that are really sent.

use super::entry::Body;
use super::entry::Concerns;
use super::entry::Draw;
use super::entry::Entry;
use super::entry::Told;
use super::entry::Verb;
use super::table::TABLE;
use crate::api::Problem;
use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::Map;
use serde_json::Value;
use serde_json::json;

const SCHEMAS: &str = "/components/schemas";

/// Draws documents that are sent, and documents that are taken: what may be left out differs.
struct Drawing {
    sent: SchemaGenerator,
    taken: SchemaGenerator,
}

impl Drawing {
    fn new() -> Self {
        let settings = |settings: &mut SchemaSettings| {
            settings.definitions_path = SCHEMAS.into();
            settings.meta_schema = None;
        };
        let drawn = SchemaSettings::draft2020_12().with(settings);
        Self {
            sent: drawn.clone().for_serialize().into_generator(),
            taken: drawn.for_deserialize().into_generator(),
        }
    }

    fn sent(&mut self, draw: Draw) -> Value {
        draw(&mut self.sent).to_value()
    }

    fn taken(&mut self, draw: Draw) -> Value {
        draw(&mut self.taken).to_value()
    }

    fn schemas(mut self) -> Map<String, Value> {
        let mut all = self.taken.take_definitions(true);
        // What is both taken and sent is told as it is sent.
        all.extend(self.sent.take_definitions(true));
        all
    }
}

/// The whole document.
pub(super) fn document() -> Value {
    let mut drawing = Drawing::new();
    let mut paths: Map<String, Value> = Map::new();
    for entry in TABLE {
        let operation = operation(entry, &mut drawing);
        let path = paths
            .entry(entry.path)
            .or_insert_with(|| Value::Object(Map::new()));
        path[entry.verb.word()] = operation;
    }
    let problem = drawing.sent(SchemaGenerator::subschema_for::<Problem>);
    let mut responses = Map::new();
    for wrong in WRONGS {
        responses.insert(
            wrong.name.to_owned(),
            json!({
                "description": wrong.says,
                "content": { "application/problem+json": { "schema": problem } },
            }),
        );
    }
    json!({
        "openapi": "3.1.0",
        "jsonSchemaDialect": "https://json-schema.org/draft/2020-12/schema",
        "info": {
            "title": "switchd admin API",
            "version": env!("CARGO_PKG_VERSION"),
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
            "description": "Over the admin socket, whose file says who may use it; and over TCP with a \
                bearer token, where [admin.tcp] has an address. Streams are one JSON object per line.",
        },
        "servers": [{ "url": "/" }],
        "security": [{ "token": [] }],
        "paths": paths,
        "components": {
            "schemas": drawing.schemas(),
            "responses": responses,
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "Over TCP: a token of [[admin.token]]. Not asked for on the socket.",
                },
            },
        },
    })
}

fn operation(entry: &Entry, drawing: &mut Drawing) -> Value {
    let mut parameters: Vec<Value> = segments(entry)
        .map(|name| {
            let schema = match name {
                "id" => json!({ "type": "integer", "minimum": 0 }),
                _ => json!({ "type": "string" }),
            };
            json!({ "name": name, "in": "path", "required": true, "schema": schema })
        })
        .collect();
    parameters.extend(entry.parameters.iter().map(|it| {
        let schema = if it.is_number {
            json!({ "type": "integer", "minimum": 1 })
        } else {
            json!({ "type": "string" })
        };
        json!({ "name": it.name, "in": "query", "description": it.says, "schema": schema })
    }));
    let mut operation = json!({
        "operationId": operation_id(entry),
        "summary": entry.says,
        "description": format!("Over TCP for the role `{}`{}.", entry.role.word(), concerns(entry)),
        "responses": responses(entry, drawing),
    });
    if !parameters.is_empty() {
        operation["parameters"] = parameters.into();
    }
    let body = match entry.body {
        Body::None => None,
        Body::Optional(draw) => Some((drawing.taken(draw), false)),
        Body::Required(draw) => Some((drawing.taken(draw), true)),
    };
    if let Some((schema, required)) = body {
        operation["requestBody"] = json!({
            "required": required,
            "content": { "application/json": { "schema": schema } },
        });
    }
    operation
}

fn segments(entry: &Entry) -> impl Iterator<Item = &'static str> {
    let all = entry.path.split('/');
    all.filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'))
}

/// `post /v1/services/{service}/flip` is `postServicesFlip`.
fn operation_id(entry: &Entry) -> String {
    let words = entry
        .path
        .split(['/', '.'])
        .filter(|word| !word.is_empty() && *word != "v1" && !word.starts_with('{'));
    words.fold(entry.verb.word().to_owned(), |mut id, word| {
        for part in word.split('_') {
            let mut letters = part.chars();
            id.extend(letters.next().map(|first| first.to_ascii_uppercase()));
            id.push_str(letters.as_str());
        }
        id
    })
}

fn concerns(entry: &Entry) -> &'static str {
    match entry.concerns {
        Concerns::Daemon => ", and for tokens of every service alone",
        Concerns::Shown => "; a token of some services is shown those",
        Concerns::Service => ", and for tokens of this service",
    }
}

/// A way in which a request can go wrong.
struct Wrong {
    status: &'static str,
    name: &'static str,
    says: &'static str,
}

const fn wrong(status: &'static str, name: &'static str, says: &'static str) -> Wrong {
    Wrong { status, name, says }
}

const WRONGS: &[Wrong] = &[
    wrong(
        "400",
        "BadRequest",
        "The body or a parameter is not what this path takes",
    ),
    wrong(
        "401",
        "Unauthorized",
        "Over TCP: no token, or one that is not known",
    ),
    wrong(
        "403",
        "Forbidden",
        "Over TCP: the token does not reach so far",
    ),
    wrong(
        "404",
        "NotFound",
        "There is no such service, slot, request or hook",
    ),
    wrong("408", "TooSlow", "The body did not arrive in time"),
    wrong(
        "409",
        "Refused",
        "It was understood and not done; the problem says why, and the way around where there is one",
    ),
    wrong("413", "TooLarge", "The body is too large"),
    wrong(
        "429",
        "TooMany",
        "Over TCP: too many attempts with tokens that are not known",
    ),
    wrong("500", "Failed", "The journal could not be written or read"),
    wrong(
        "502",
        "Undelivered",
        "The receiver of a hook did not take the message",
    ),
    wrong("503", "Busy", "switchd is stopping, or too busy to answer"),
];

fn responses(entry: &Entry, drawing: &mut Drawing) -> Value {
    let content = match entry.answer {
        Told::Document(draw) => json!({ "application/json": { "schema": drawing.sent(draw) } }),
        Told::Lines(draw) => json!({ "application/x-ndjson": { "schema": drawing.sent(draw) } }),
        Told::Text(content_type) => json!({ content_type: { "schema": { "type": "string" } } }),
        Told::OpenApi => json!({ "application/json": { "schema": { "type": "object" } } }),
    };
    let mut responses = json!({ "200": { "description": entry.says, "content": content } });
    for wrong in WRONGS
        .iter()
        .filter(|wrong| may_happen(wrong.status, entry))
    {
        let name = wrong.name;
        responses[wrong.status] = json!({ "$ref": format!("#/components/responses/{name}") });
    }
    responses
}

fn may_happen(status: &str, entry: &Entry) -> bool {
    let changes = entry.verb != Verb::Get;
    match status {
        "404" => {
            let names_one = |name: &str| entry.parameters.iter().any(|it| it.name == name);
            entry.path.contains('{') || names_one("service") || !matches!(entry.body, Body::None)
        }
        "409" => changes,
        "502" => entry.path.contains("/hooks/"),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/openapi.json");

    #[test]
    fn the_document_in_the_repository_is_what_the_daemon_sends() {
        let text = serde_json::to_string_pretty(&document()).unwrap() + "\n";
        if std::env::var_os("BLESS").is_some() {
            fs::write(FILE, &text).unwrap();
        }
        let kept = fs::read_to_string(FILE).unwrap_or_default();
        assert!(
            kept == text,
            "docs/openapi.json is not up to date: BLESS=1 cargo nextest run --lib -E 'test(openapi)' writes it anew"
        );
    }

    #[test]
    fn every_reference_leads_somewhere_and_every_operation_has_its_own_id() {
        let document = document();
        let text = document.to_string();
        let mut found = 0;
        for (at, _) in text.match_indices("\"$ref\":\"#") {
            let pointer = &text[at + "\"$ref\":\"#".len()..];
            let pointer = &pointer[..pointer.find('"').unwrap()];
            assert!(document.pointer(pointer).is_some(), "{pointer}");
            found += 1;
        }
        assert!(found > 50, "{found}");
        let mut ids: Vec<String> = TABLE.iter().map(operation_id).collect();
        ids.sort();
        let all = ids.len();
        ids.dedup();
        assert_eq!(ids.len(), all);
        assert!(ids.contains(&"postServicesFlip".to_owned()), "{ids:?}");
    }
}
