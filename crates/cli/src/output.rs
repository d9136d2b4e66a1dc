//! Writing results: lines, tables, templates.

use std::io::Write;

use serde_json::Value;

use crate::error::{Doing, Error};

/// Writes to standard output. A reader that has gone ends the program quietly, as for any filter.
pub(crate) fn print(text: &str) -> Result<(), Error> {
    let mut out = std::io::stdout();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => Err(Error::Shown { status: 0 }),
        other => other.doing(|| "write to standard output".into()),
    }
}

/// Writes an error or a warning to standard error.
pub(crate) fn complain(text: &str) {
    // Nobody is left to tell when standard error is closed.
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// Columns aligned as Podman's and Docker's: at least twelve wide, two blanks between.
pub(crate) fn table(rows: &[Vec<String>]) -> Result<String, Error> {
    let mut out = tabwriter::TabWriter::new(Vec::new()).minwidth(10).padding(2);
    for row in rows {
        writeln!(out, "{}", row.join("\t")).doing(|| "format a table".into())?;
    }
    let bytes = out
        .into_inner()
        .map_err(|e| std::io::Error::other(e.to_string()))
        .doing(|| "format a table".into())?;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    // The last column needs no padding.
    Ok(text.lines().map(|l| l.trim_end().to_owned() + "\n").collect())
}

/// A document as Go's tools indent one: by four blanks.
pub(crate) fn indented(document: &Value) -> String {
    // Lines end between values only: in texts they are escaped.
    let deeper = |line: &str| {
        let blanks = line.len() - line.trim_start_matches(' ').len();
        format!("{}{line}\n", " ".repeat(blanks))
    };
    format!("{document:#}").lines().map(deeper).collect()
}

/// One record per line by a Go template; `table TEMPLATE` with headers made from the fields' names.
pub(crate) fn by_template(
    template: &str,
    headers: &[(&str, &str)],
    records: &[Value],
) -> Result<String, Error> {
    let (columns, is_table) = match template.strip_prefix("table ") {
        Some(rest) => (rest, true),
        None => (template, false),
    };
    let columns = columns.replace("\\t", "\t").replace("\\n", "\n");
    let mut lines = Vec::new();
    if is_table {
        let names: serde_json::Map<String, Value> =
            headers.iter().map(|(field, header)| ((*field).to_owned(), Value::from(*header))).collect();
        lines.push(execute(&columns, &names.into())?);
    }
    for record in records {
        lines.push(execute(&columns, record)?);
    }
    if is_table {
        return table(&lines.iter().map(|l| l.split('\t').map(str::to_owned).collect()).collect::<Vec<_>>());
    }
    Ok(lines.into_iter().map(|l| l + "\n").collect())
}

/// Executes a Go template on one record, with the functions Docker and Podman add.
pub(crate) fn execute(template: &str, record: &Value) -> Result<String, Error> {
    let failed = |source| Error::Template { template: template.to_owned(), source };
    let data = gotmpl::to_value(record).map_err(failed)?;
    gotmpl::Template::new("format")
        .func("json", |args: &[gotmpl::Value]| {
            Ok(args.first().map(to_json).unwrap_or_default().to_string().into())
        })
        .func("upper", |args: &[gotmpl::Value]| Ok(text(args).to_uppercase().into()))
        .func("lower", |args: &[gotmpl::Value]| Ok(text(args).to_lowercase().into()))
        .parse(template)
        .and_then(|t| t.execute_to_string(&data))
        .map_err(failed)
}

fn text(args: &[gotmpl::Value]) -> String {
    args.first().and_then(|a| a.as_str()).unwrap_or_default().to_owned()
}

fn to_json(value: &gotmpl::Value) -> Value {
    use gotmpl::Value as Go;
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
    use super::*;

    #[test]
    fn templates_see_fields_and_functions() {
        let record = serde_json::json!({"Name": "web", "Labels": {"a": "b"}, "N": 3});
        assert_eq!(
            execute("{{.Name}} {{json .Labels}} {{upper .Name}} {{.N}}", &record).unwrap(),
            r#"web {"a":"b"} WEB 3"#
        );
        let out =
            by_template("table {{.Name}}\\t{{.N}}", &[("Name", "NAMES"), ("N", "COUNT")], &[record]).unwrap();
        assert_eq!(out, "NAMES       COUNT\nweb         3\n");
        assert!(execute("{{.Name", &Value::Null).is_err());
    }
}
