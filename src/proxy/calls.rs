//! Calls of procedures, as JSON-RPC and XML-RPC write them: does the body of one say that it only reads?
//!
//! Whoever reads the call behind us must not find another method in it than we do. So whatever is said twice, in
//! another encoding, or not as the format has it, is taken for a call that writes.

use roxmltree::Document;
use roxmltree::Node;
use serde::Deserialize;
use serde_json::Value;

/// Of Odoo's `common` and `db` services: they tell something to those who have no session.
const OPEN_METHODS: [&str; 5] = ["version", "about", "server_version", "list", "authenticate"];
/// Of Odoo's `object` service: their arguments are database, user, password, model, method.
const EXECUTES: [&str; 2] = ["execute", "execute_kw"];
const METHOD_AT: usize = 4;
/// Nobody nests arguments deeper.
const DEEPEST: usize = 32;

/// Whether a call reads, as Odoo takes it.
pub(super) fn is_read(body: &[u8], methods: &[String]) -> bool {
    let is_listed = |method: &str| methods.iter().any(|known| known == method);
    match body.trim_ascii_start().first() {
        Some(b'<') => method_of_xml(body).is_some_and(|method| is_listed(&method)),
        _ => is_read_of_json(body, is_listed),
    }
}

/// `params` is the call of a model's method, or one of a service whose arguments name model and method.
fn is_read_of_json(body: &[u8], is_listed: impl Fn(&str) -> bool) -> bool {
    #[derive(Deserialize)]
    struct Call {
        params: Params,
    }
    #[derive(Deserialize)]
    struct Params {
        service: Option<String>,
        method: String,
        #[serde(default)]
        args: Value,
    }
    let Ok(Call { params }) = serde_json::from_slice::<Call>(body) else {
        return false;
    };
    match params.service.as_deref() {
        None => is_listed(&params.method),
        Some("common" | "db") => OPEN_METHODS.contains(&&*params.method),
        Some("object") if EXECUTES.contains(&&*params.method) => params
            .args
            .get(METHOD_AT)
            .and_then(Value::as_str)
            .is_some_and(is_listed),
        Some(_) => false,
    }
}

/// The method of a model that a call of XML-RPC names; none where it is not plain.
fn method_of_xml(body: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(body).ok()?;
    if !is_declared_as_utf8(text) {
        return None;
    }
    // It refuses document types, and with them entities of the sender's own.
    let document = Document::parse(text).ok()?;
    let is_plain = |node: Node<'_, '_>| {
        let is_bare = node.attributes().len() == 0 && node.tag_name().namespace().is_none();
        node.is_root() || node.is_text() || (node.is_element() && is_bare)
    };
    if !document.descendants().all(is_plain) {
        return None;
    }
    let call = document.root_element();
    let [name, params] = exactly(call)?;
    let names = [call, name, params].map(|node| node.tag_name().name());
    if names != ["methodCall", "methodName", "params"] || !EXECUTES.contains(&&*text_of(name)?) {
        return None;
    }
    let mut method = None;
    for (at, param) in elements(params)?.into_iter().enumerate() {
        let [value] = exactly(param)?;
        if param.tag_name().name() != "param" || !is_value(value, 0) {
            return None;
        }
        if at == METHOD_AT {
            method = Some(string_of(value)?);
        }
    }
    method
}

/// Others than we may believe what the declaration says.
fn is_declared_as_utf8(text: &str) -> bool {
    let Some(rest) = text.trim_start().strip_prefix("<?xml") else {
        return true;
    };
    let declaration = rest.split("?>").next().unwrap_or_default();
    let declaration = declaration.to_ascii_lowercase().replace('\'', "\"");
    !declaration.contains("encoding") || declaration.contains("encoding=\"utf-8\"")
}

/// The elements in a node; none where there is text between them.
fn elements<'a, 'input>(node: Node<'a, 'input>) -> Option<Vec<Node<'a, 'input>>> {
    let mut elements = Vec::new();
    for child in node.children() {
        if child.is_element() {
            elements.push(child);
        } else if !child.text()?.trim().is_empty() {
            return None;
        }
    }
    Some(elements)
}

/// The same where there are so many.
fn exactly<'a, 'input, const N: usize>(node: Node<'a, 'input>) -> Option<[Node<'a, 'input>; N]> {
    elements(node)?.try_into().ok()
}

/// What stands in a node that holds text alone.
fn text_of(node: Node<'_, '_>) -> Option<String> {
    let mut text = String::new();
    for child in node.children() {
        if child.is_element() {
            return None;
        }
        text.push_str(child.text()?);
    }
    Some(text)
}

fn string_of(value: Node<'_, '_>) -> Option<String> {
    let mut inside = value.children().filter(Node::is_element);
    match inside.next() {
        None => text_of(value),
        Some(string) if string.tag_name().name() == "string" => text_of(string),
        Some(_) => None,
    }
}

/// Whether this is one value, and nothing else: a reader that counts otherwise finds another method.
fn is_value(value: Node<'_, '_>, depth: usize) -> bool {
    if value.tag_name().name() != "value" || depth > DEEPEST {
        return false;
    }
    if text_of(value).is_some() {
        return true;
    }
    let Some([inside]) = exactly(value) else {
        return false;
    };
    match inside.tag_name().name() {
        "array" => {
            let Some([data]) = exactly(inside) else {
                return false;
            };
            let items = elements(data);
            data.tag_name().name() == "data"
                && items.is_some_and(|items| items.iter().all(|it| is_value(*it, depth + 1)))
        }
        "struct" => {
            let members = elements(inside);
            members.is_some_and(|all| all.iter().all(|it| is_member(*it, depth + 1)))
        }
        "nil" | "boolean" | "i1" | "i2" | "i4" | "i8" | "int" | "biginteger" | "double"
        | "float" | "bigdecimal" | "string" | "dateTime.iso8601" | "base64" => {
            text_of(inside).is_some()
        }
        _ => false,
    }
}

fn is_member(member: Node<'_, '_>, depth: usize) -> bool {
    let Some([name, value]) = exactly(member) else {
        return false;
    };
    let is_named = name.tag_name().name() == "name" && text_of(name).is_some();
    member.tag_name().name() == "member" && is_named && is_value(value, depth)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reads(body: &str) -> bool {
        let methods = ["read".to_owned(), "search_read".to_owned()];
        is_read(body.as_bytes(), &methods)
    }

    #[test]
    fn a_call_reads_when_its_method_is_listed_wherever_it_stands() {
        for read in [
            r#"{"jsonrpc":"2.0","id":1,"method":"call","params":{"model":"res.partner","method":"read","args":[[7]],"kwargs":{}}}"#,
            r#"{"params":{"service":"object","method":"execute_kw","args":["db",2,"pw","res.partner","search_read",[[]]]}}"#,
            r#"{"params":{"service":"object","method":"execute","args":["db",2,"pw","res.partner","read",[7]]}}"#,
            r#"{"params":{"service":"common","method":"version","args":[]}}"#,
        ] {
            assert!(reads(read), "{read}");
        }
        for write in [
            r#"{"params":{"model":"res.partner","method":"write","args":[[7],{}]}}"#,
            r#"{"params":{"model":"res.partner","method":"Read","args":[[7]]}}"#,
            r#"{"params":{"model":"res.partner","method":" read","args":[[7]]}}"#,
            r#"{"params":{"model":"res.partner","method":"read","method":"write"}}"#,
            r#"{"params":{"method":"read"},"params":{"method":"write"}}"#,
            r#"{"params":{"service":"object","method":"execute_kw","args":["db",2,"pw","res.partner","unlink",[7]]}}"#,
            r#"{"params":{"service":"object","method":"execute_kw","args":["db",2,"pw","res.partner"]}}"#,
            r#"{"params":{"service":"object","method":"execute_kw","args":{"4":"read"}}}"#,
            r#"{"params":{"service":"object","method":"read","args":[]}}"#,
            r#"{"params":{"service":"report","method":"read"}}"#,
            r#"[{"params":{"method":"read"}}]"#,
            r#"{"params":{"method":"read"}"#,
            "read",
            "",
        ] {
            assert!(!reads(write), "{write}");
        }
    }

    fn xml(name: &str, params: &[&str]) -> String {
        let params = params
            .iter()
            .map(|it| format!("<param><value>{it}</value></param>\n"));
        let params = params.collect::<Vec<_>>().concat();
        format!(
            "<?xml version='1.0'?>\n<methodCall>\n<methodName>{name}</methodName>\n<params>\n{params}</params>\n</methodCall>\n"
        )
    }

    const WHO: [&str; 4] = [
        "<string>prod</string>",
        "<int>2</int>",
        "<string>pw</string>",
        "<string>res.partner</string>",
    ];

    fn kw(method: &str) -> String {
        let domain = "<array><data>\n<value><array><data></data></value>\n</data></array>";
        let options =
            "<struct><member><name>limit</name><value><int>5</int></value></member></struct>";
        let domain = domain.replace("</data></value>", "</data></array></value>");
        xml(
            "execute_kw",
            &[&WHO[..], &[method, &domain, options]].concat(),
        )
    }

    #[test]
    fn a_call_of_xml_reads_when_its_fifth_argument_is_listed() {
        for read in [
            kw("<string>search_read</string>"),
            kw("search_read"),
            kw("<string>rea&#100;</string>"),
            xml(
                "execute",
                &[&WHO[..], &["<string>read</string>", "<int>7</int>"]].concat(),
            ),
            kw("<string>read</string>").replace("'1.0'", "'1.0' encoding='UTF-8'"),
        ] {
            assert!(reads(&read), "{read}");
        }
    }

    #[test]
    fn what_others_may_read_otherwise_writes() {
        let read = kw("<string>read</string>");
        let with = |from: &str, to: &str| {
            assert!(read.contains(from), "{from}");
            read.replacen(from, to, 1)
        };
        for write in [
            kw("<string>unlink</string>"),
            kw("<string>READ</string>"),
            kw("<string> read</string>"),
            kw("<string>read</string><string>unlink</string>"),
            kw("<name>read</name>"),
            kw("<base64>cmVhZA==</base64>"),
            kw("<string>re<!-- -->ad</string>"),
            kw("<string>re<?x?>ad</string>"),
            xml("execute_kw", &WHO),
            xml("unlink", &[&WHO[..], &["<string>read</string>"]].concat()),
            xml("execute_kw", &["<string>read</string>"; 4]),
            with("<int>2</int>", "<int>2</int><int>3</int>"),
            with(
                "<param>",
                "<param><value>x</value></param><param><value>y</value>",
            ),
            with("<params>", "<params><value>x</value>"),
            with("</params>", "</params><methodName>unlink</methodName>"),
            with("<int>5</int>", "<methodName>unlink</methodName>"),
            with("<int>5</int>", "5<int>5</int>"),
            with("<data>", "<data><x/>"),
            with("<methodName>", "<methodName a=\"b\">"),
            with("<methodCall>", "<methodCall xmlns=\"urn:x\">"),
            with(
                "<methodCall>",
                "<methodCall xmlns:x=\"urn:x\"><x:methodName>unlink</x:methodName>",
            ),
            with("'1.0'", "'1.0' encoding='cp037'"),
            with("'1.0'", "'1.0' encoding='utf-7'"),
            with(
                "<methodCall>",
                "<!DOCTYPE m [<!ENTITY e \"read\">]><methodCall>",
            ),
            with("</methodCall>", ""),
            format!("{read}{read}"),
            format!("\u{feff}{read}"),
            "<methodCall/>".to_owned(),
            "<".repeat(1000),
            kw(&format!(
                "{}{}",
                "<array><data><value>".repeat(900),
                "</value></data></array>".repeat(900)
            )),
        ] {
            assert!(!reads(&write), "{write}");
        }
    }
}
