//! Go templates of `--format`: parsed once, checked, and executed on records.

use std::collections::BTreeMap;

use gotmpl::parse::{CommandNode, Expr, ListNode, Node, Parser, PipeNode};
use gotmpl::{TemplateError, Value as Go};
use serde_json::Value;

use crate::error::Error;
use crate::units::go_duration;

/// The name under which the text itself is kept among the templates it defines. No text can name it.
const MAIN: &str = "\0main";
/// What a field with an argument, `.Label "k"`, becomes. No text can name it.
const LABEL: &str = "\0label";
/// The field with the labels by their names, which `.Label "k"` looks at; of records without it, `Labels`. No text can name it.
pub(crate) const LABELS: &str = "\0labels";
/// What prints a time in nanoseconds as Go does. No text can name it.
const DURATION: &str = "\0duration";
/// The fields of health checks that are such times.
const TIMES: [&str; 4] = ["Interval", "Timeout", "StartPeriod", "StartInterval"];
/// Where these are.
const CHECKS: [&str; 2] = ["Healthcheck", "StartupHealthCheck"];
/// The most characters a function makes room for, on each side.
const MAX_PAD: usize = 4096;

/// A template, ready to be executed.
pub(crate) struct Template {
    text: String,
    template: gotmpl::Template,
    /// The fields of the record that it names; none when it asks for all of it.
    fields: Option<Vec<String>>,
    /// It says itself what is done with the list of all records.
    is_of_list: bool,
    /// It looks at labels by their names.
    of_labels: bool,
}

/// What `.` is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Dot {
    Record,
    /// All records.
    List,
    Other,
}

impl Template {
    /// Reads one.
    pub(crate) fn parse(text: &str) -> Result<Self, Error> {
        let failed = |source| Error::Template { template: text.to_owned(), source };
        let (mut list, mut defines) =
            Parser::new(text, "{{", "}}").and_then(Parser::parse).map_err(failed)?;
        let is_of_list =
            list.nodes.iter().any(|node| matches!(node, Node::Range(range) if is_dot(&range.pipe)));
        let dot = if is_of_list { Dot::List } else { Dot::Record };
        let mut asked = Asked::default();
        asked.list(&list, dot);
        // What these are executed with is not known.
        asked.all |= !defines.is_empty();
        let mut of_labels = label_list(&mut list);
        let mut template = functions(gotmpl::Template::new("format"));
        for define in &mut defines {
            of_labels |= label_list(&mut define.body);
            template = template.add_parse_tree(&define.name, define.body.clone());
        }
        let template = template.add_parse_tree(MAIN, list);
        let fields = (!asked.all).then_some(asked.fields);
        Ok(Self { text: text.to_owned(), template, fields, is_of_list, of_labels })
    }

    /// Whether it wants a field of records.
    pub(crate) fn wants(&self, field: &str) -> bool {
        if field == LABELS {
            return self.of_labels;
        }
        self.fields.as_ref().is_none_or(|fields| fields.iter().any(|asked| asked == field))
    }

    /// As it was written.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// Whether it says itself what is done with all records.
    pub(crate) fn is_of_list(&self) -> bool {
        self.is_of_list
    }

    /// Refuses one that names a field that no record has.
    pub(crate) fn check<'k>(&self, known: impl FnOnce() -> Vec<&'k str>) -> Result<(), Error> {
        let Some(fields) = &self.fields else { return Ok(()) };
        let known = known();
        match fields.iter().find(|field| !known.contains(&field.as_str())) {
            None => Ok(()),
            Some(field) => {
                let mut known: Vec<String> = known.into_iter().map(str::to_owned).collect();
                known.sort_unstable();
                known.dedup();
                Err(Error::Field { template: self.text.clone(), field: field.clone(), known })
            }
        }
    }

    /// Executes it on a record.
    pub(crate) fn execute(&self, record: &Value) -> Result<String, Error> {
        let failed = |source| Error::Template { template: self.text.clone(), source };
        let data = match self.of_labels {
            true => gotmpl::to_value(&with_labels(record.clone())),
            false => gotmpl::to_value(record),
        };
        let data = data.map_err(failed)?;
        self.template.execute_template_to_string(MAIN, &data).map_err(failed)
    }
}

/// What a template asks of records.
#[derive(Default)]
struct Asked {
    fields: Vec<String>,
    all: bool,
}

impl Asked {
    fn list(&mut self, list: &ListNode, dot: Dot) {
        for node in &list.nodes {
            match node {
                Node::List(list) => self.list(list, dot),
                Node::Action(action) => self.pipe(&action.pipe, dot),
                Node::If(branch) => {
                    self.pipe(&branch.pipe, dot);
                    self.list(&branch.body, dot);
                    branch.else_body.iter().for_each(|body| self.list(body, dot));
                }
                Node::With(branch) | Node::Range(branch) => {
                    let same = is_dot(&branch.pipe);
                    let inside = match (same, dot, matches!(node, Node::Range(_))) {
                        (true, Dot::List, true) => Dot::Record,
                        (true, dot, false) => dot,
                        _ => Dot::Other,
                    };
                    if !(same && inside != Dot::Other) {
                        self.pipe(&branch.pipe, dot);
                    }
                    self.list(&branch.body, inside);
                    branch.else_body.iter().for_each(|body| self.list(body, dot));
                }
                Node::Template(template) => template.pipe.iter().for_each(|pipe| self.pipe(pipe, dot)),
                Node::Text(_) | Node::Define(_) | Node::Break(_) | Node::Continue(_) => {}
            }
        }
    }

    fn pipe(&mut self, pipe: &PipeNode, dot: Dot) {
        let arguments = pipe.commands.iter().flat_map(|command| &command.args);
        arguments.for_each(|argument| self.expression(argument, dot));
    }

    fn expression(&mut self, expression: &Expr, dot: Dot) {
        match expression {
            Expr::Dot(_) => self.all |= dot != Dot::Other,
            Expr::Field(_, names) if dot == Dot::Record => self.field(names.first().map(|name| &**name)),
            // It is what the whole template is executed with.
            Expr::Variable(_, name, names) if name.as_str() == "$" => {
                self.field(names.first().map(|name| &**name))
            }
            Expr::Pipe(_, pipe) => self.pipe(pipe, dot),
            Expr::Chain(_, inner, _) => self.expression(inner, dot),
            _ => {}
        }
    }

    fn field(&mut self, name: Option<&str>) {
        match name {
            None => self.all = true,
            Some(name) => {
                // A method of records, which are asked for what it looks at.
                let name = if name == "Label" { "Labels" } else { name };
                if self.fields.iter().all(|other| other != name) {
                    self.fields.push(name.to_owned());
                }
            }
        }
    }
}

fn is_dot(pipe: &PipeNode) -> bool {
    match pipe.commands.as_slice() {
        [command] => matches!(command.args.as_slice(), [Expr::Dot(_)]),
        _ => false,
    }
}

/// A record, or each of a list, with its labels where `.Label "k"` looks for them.
fn with_labels(mut record: Value) -> Value {
    match &mut record {
        Value::Object(fields) if !fields.contains_key(LABELS) => {
            if let Some(labels) = fields.get("Labels").cloned() {
                fields.insert(LABELS.to_owned(), labels);
            }
        }
        Value::Array(records) => {
            for record in records {
                *record = with_labels(record.take());
            }
        }
        _ => {}
    }
    record
}

/// `.Label "k"` is a method in Podman and Docker: here a function of the labels. Whether there is one.
fn label_list(list: &mut ListNode) -> bool {
    let mut found = false;
    for node in &mut list.nodes {
        found |= match node {
            Node::List(list) => label_list(list),
            Node::Action(action) => {
                time_pipe(&mut action.pipe);
                label_pipe(&mut action.pipe)
            }
            Node::If(branch) | Node::With(branch) | Node::Range(branch) => {
                let found = label_pipe(&mut branch.pipe) | label_list(&mut branch.body);
                found | branch.else_body.as_mut().is_some_and(label_list)
            }
            Node::Template(template) => template.pipe.as_mut().is_some_and(label_pipe),
            _ => false,
        };
    }
    found
}

fn label_pipe(pipe: &mut PipeNode) -> bool {
    let mut found = false;
    for CommandNode { args, .. } in &mut pipe.commands {
        for argument in args.iter_mut() {
            if let Expr::Pipe(_, pipe) = argument {
                found |= label_pipe(pipe);
            }
        }
        if let [Expr::Field(at, names), _] = args.as_mut_slice()
            && names.as_slice() == ["Label"]
        {
            let at = *at;
            names[0] = LABELS.into();
            args.insert(0, Expr::Identifier(at, LABEL.into()));
            found = true;
        }
    }
    found
}

/// A time that is printed is text, as in Go.
fn time_pipe(pipe: &mut PipeNode) {
    let [CommandNode { args, .. }] = pipe.commands.as_mut_slice() else { return };
    if let [Expr::Field(at, names)] = args.as_slice()
        && let [.., check, time] = names.as_slice()
        && CHECKS.contains(&check.as_str())
        && TIMES.contains(&time.as_str())
    {
        args.insert(0, Expr::Identifier(*at, DURATION.into()));
    }
}

/// Labels as the peers print them.
pub(crate) fn joined(labels: &BTreeMap<String, String>) -> String {
    labels.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(",")
}

type Outcome = Result<Go, TemplateError>;

/// The functions that Docker and Podman add to Go's.
fn functions(template: gotmpl::Template) -> gotmpl::Template {
    template
        .func("json", |args: &[Go]| Ok(args.first().map(to_json).unwrap_or_default().to_string().into()))
        .func("upper", |args: &[Go]| Ok(text(args, 0)?.to_uppercase().into()))
        .func("lower", |args: &[Go]| Ok(text(args, 0)?.to_lowercase().into()))
        .func("title", |args: &[Go]| Ok(title(text(args, 0)?).into()))
        .func("split", |args: &[Go]| {
            let (text, separator) = (text(args, 0)?, text(args, 1)?);
            Ok(match separator {
                // As in Go: letter by letter.
                "" => list(text.chars().map(String::from)),
                _ => list(text.split(separator).map(str::to_owned)),
            })
        })
        .func("join", join)
        .func("pad", |args: &[Go]| {
            let (text, before, after) = (text(args, 0)?, number(args, 1)?, number(args, 2)?);
            // Docker's: of nothing it makes nothing.
            let blanks = |n: usize| if text.is_empty() { String::new() } else { " ".repeat(n.min(MAX_PAD)) };
            Ok(format!("{}{text}{}", blanks(before), blanks(after)).into())
        })
        .func("truncate", |args: &[Go]| {
            let most = number(args, 1)?;
            Ok(text(args, 0)?.chars().take(most).collect::<String>().into())
        })
        .func(DURATION, |args: &[Go]| match args.first() {
            Some(Go::Int(n)) => Ok(go_duration((*n).try_into().unwrap_or_default()).into()),
            Some(Go::Uint(n)) => Ok(go_duration(*n).into()),
            other => Ok(other.cloned().unwrap_or(Go::Nil)),
        })
        .func(LABEL, |args: &[Go]| {
            let name = text(args, 1)?;
            match args.first() {
                Some(Go::Map(labels)) => {
                    let found = labels.iter().find(|(key, _)| ***key == *name);
                    Ok(found.map_or_else(|| "".to_owned().into(), |(_, value)| value.clone()))
                }
                _ => Ok("".to_owned().into()),
            }
        })
}

fn wrong(what: &str) -> TemplateError {
    TemplateError::Exec(format!("wrong type for value; expected {what}"))
}

fn text(args: &[Go], at: usize) -> Result<&str, TemplateError> {
    args.get(at).and_then(|arg| arg.as_str()).ok_or_else(|| wrong("string"))
}

fn number(args: &[Go], at: usize) -> Result<usize, TemplateError> {
    match args.get(at) {
        Some(Go::Int(n)) => usize::try_from(*n).map_err(|_| wrong("int")),
        _ => Err(wrong("int")),
    }
}

fn list(texts: impl Iterator<Item = String>) -> Go {
    let texts: Value = texts.map(Value::from).collect();
    // Texts are always values.
    gotmpl::to_value(&texts).unwrap_or(Go::Nil)
}

fn join(args: &[Go]) -> Outcome {
    let separator = text(args, 1)?;
    let Some(Go::List(items)) = args.first() else { return Err(wrong("[]string")) };
    let items: Option<Vec<&str>> = items.iter().map(|item| item.as_str()).collect();
    Ok(items.ok_or_else(|| wrong("[]string"))?.join(separator).into())
}

/// The first letter of each word in upper case.
fn title(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut begins = true;
    for c in text.chars() {
        match begins {
            true => out.extend(c.to_uppercase()),
            false => out.push(c),
        }
        begins = !(c.is_alphanumeric() || c == '_' || c == '\'');
    }
    out
}

fn to_json(value: &Go) -> Value {
    match value {
        Go::Bool(b) => (*b).into(),
        Go::Int(n) => (*n).into(),
        Go::Uint(n) => (*n).into(),
        Go::Float(n) => (*n).into(),
        Go::String(s) => s.to_string().into(),
        Go::List(list) => list.iter().map(to_json).collect(),
        Go::Map(map) => map.iter().map(|(k, v)| (k.to_string(), to_json(v))).collect(),
        _ => Value::Null,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn run(text: &str) -> String {
        let record = json!({
            "Name": "web", "Labels": {"a": "b", "c": "d"}, "N": 3, "List": ["x", "y"], "Deep": {"In": {"A": 1}},
        });
        match Template::parse(text).and_then(|template| template.execute(&record)) {
            Ok(text) => text,
            Err(error) => format!("error: {}", crate::error::one_line(&error)),
        }
    }

    #[test]
    fn functions_are_those_of_the_peers() {
        for (text, result) in [
            ("{{.Name}} {{.N}} {{.Deep.In.A}}", "web 3 1"),
            ("{{json .Labels}} {{json .Name}}", r#"{"a":"b","c":"d"} "web""#),
            ("{{upper .Name}} {{.Name | lower}} {{title \"a bc_d it's\"}}", "WEB web A Bc_d It's"),
            (r#"{{join .List ", "}}"#, "x, y"),
            (r#"{{range split "a:b" ":"}}<{{.}}>{{end}}"#, "<a><b>"),
            (r#"{{index (split "a:b" ":") 1}}"#, "b"),
            (r#"{{join (split "abc" "") "-"}}"#, "a-b-c"),
            ("[{{pad .Name 1 2}}][{{pad \"\" 1 2}}]", "[ web  ][]"),
            ("{{truncate .Name 2}}{{truncate .Name 9}}", "weweb"),
            (r#"{{println .Name "x"}}"#, "web x\n"),
            (r#"{{.Label "a"}}[{{.Label "nope"}}]{{if .Label "c"}}yes{{end}}"#, "b[]yes"),
            (r#"{{upper (.Label "a")}}{{with .Label "a"}}{{.}}{{end}}"#, "Bb"),
            (r#"{{define "x"}}<{{.}}>{{end}}{{template "x" .Name}}"#, "<web>"),
        ] {
            assert_eq!(run(text), result, "{text}");
        }
        for bad in
            ["{{upper .N}}", "{{join .Name \",\"}}", "{{truncate .Name -1}}", "{{.Name", "{{nope .Name}}"]
        {
            assert!(run(bad).starts_with("error: template"), "{bad}: {}", run(bad));
        }
    }

    #[test]
    fn labels_are_found_by_their_names_also_where_they_are_shown_as_one_text() {
        let record = json!({"Labels": "a=b,c=d", LABELS: {"a": "b", "c": "d"}});
        for text in [r#"{{.Labels}} {{.Label "c"}}"#, r#"{{range .}}{{.Labels}} {{.Label "c"}}{{end}}"#] {
            let template = Template::parse(text).unwrap();
            assert!(template.wants(LABELS));
            let records = if template.is_of_list() { json!([record]) } else { record.clone() };
            assert_eq!(template.execute(&records).unwrap(), "a=b,c=d d");
        }
        assert!(!Template::parse("{{.Labels}}").unwrap().wants(LABELS));
    }

    #[test]
    fn the_fields_it_names_are_known() {
        let fields = |text: &str| {
            let template = Template::parse(text).unwrap();
            template.fields.map(|fields| fields.join(" "))
        };
        for (text, names) in [
            ("{{.ID}} {{.Names}} {{.ID}}", Some("ID Names")),
            ("{{if .A}}{{.B}}{{else}}{{.C}}{{end}}", Some("A B C")),
            ("{{range .A}}{{.B}}{{$.C}}{{end}}", Some("A C")),
            ("{{with .A}}{{.B}}{{else}}{{.C}}{{end}}", Some("A C")),
            ("{{with .}}{{.B}}{{end}}", Some("B")),
            ("{{printf \"%s\" (upper .A.B)}} {{len .C}}", Some("A C")),
            ("{{range .}}{{.A}}{{end}}", Some("A")),
            (r#"{{.Label "x"}}"#, Some("Labels")),
            ("plain", Some("")),
            ("{{.}}", None),
            ("{{json .}}", None),
            ("{{json $}}", None),
            (r#"{{define "x"}}{{.A}}{{end}}{{template "x" .}}"#, None),
        ] {
            assert_eq!(fields(text).as_deref(), names, "{text}");
        }
        let template = Template::parse("{{.ID}} {{.Nope}}").unwrap();
        let error = template.check(|| vec!["Names", "ID"]).unwrap_err().to_string();
        assert!(error.contains("can't evaluate field Nope") && error.contains("ID, Names"), "{error}");
        assert!(template.check(|| vec!["ID", "Nope"]).is_ok());
        assert!(template.wants("ID") && !template.wants("Names"));
    }

    #[test]
    fn times_of_health_checks_are_printed_as_go_does() {
        let record = json!({"Healthcheck": {"Interval": 38_000_000_000_u64, "Timeout": null, "Retries": 3}});
        for (text, result) in [
            ("{{.Healthcheck.Interval}} {{.Healthcheck.Retries}}", "38s 3"),
            ("{{json .Healthcheck.Interval}}", "38000000000"),
        ] {
            assert_eq!(Template::parse(text).unwrap().execute(&record).unwrap(), result, "{text}");
        }
    }
}
