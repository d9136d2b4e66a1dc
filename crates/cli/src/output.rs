//! Writing results: lines, tables, templates.

use std::io::Write;

use serde_json::Value;

use crate::error::{Doing, Error};
use crate::template::Template;

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

/// A table of these fields of records, below their headings if these are wanted.
pub(crate) fn table_of(
    columns: &[&str],
    headers: Option<&[(&str, &str)]>,
    records: &[Value],
) -> Result<String, Error> {
    let heading = |headers: &[(&str, &str)], column: &str| {
        headers.iter().find(|(field, _)| *field == column).map_or("", |(_, text)| text).to_owned()
    };
    let cell = |record: &Value, column: &str| match &record[column] {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let head = headers.map(|headers| columns.iter().map(|column| heading(headers, column)).collect());
    let rows = records.iter().map(|record| columns.iter().map(|column| cell(record, column)).collect());
    table(&head.into_iter().chain(rows).collect::<Vec<Vec<String>>>())
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

/// A template with the tabulators and ends of lines that are written with a backslash.
pub(crate) fn unescaped(template: &str) -> String {
    template.replace("\\t", "\t").replace("\\n", "\n")
}

/// One record per line by a Go template; `table TEMPLATE` with headers made from the fields' names.
pub(crate) fn by_template(
    template: &str,
    headers: &[(&str, &str)],
    records: &[Value],
) -> Result<String, Error> {
    Listing::parse(template)?.text(headers, records)
}

/// A template for a list of records.
pub(crate) struct Listing {
    pub(crate) template: Template,
    is_table: bool,
}

impl Listing {
    /// Reads one, with `table ` before it or without.
    pub(crate) fn parse(template: &str) -> Result<Self, Error> {
        let (columns, is_table) = match template.strip_prefix("table ") {
            Some(rest) => (rest, true),
            None => (template, false),
        };
        let mut columns = unescaped(columns);
        if is_table {
            // As with Podman, a blank between two fields is between two columns.
            columns = columns.replace("}} {{", "}}\t{{");
        }
        Ok(Self { template: Template::parse(&columns)?, is_table })
    }

    /// What it makes of records. Fields that these have not, nor `headers`, are refused if there is anything to execute it on.
    pub(crate) fn text(&self, headers: &[(&str, &str)], records: &[Value]) -> Result<String, Error> {
        let template = &self.template;
        let of_first = records.first().and_then(Value::as_object);
        if self.is_table || of_first.is_some() {
            let of_headers = headers.iter().map(|(field, _)| *field);
            let of_records = of_first.into_iter().flat_map(|record| record.keys().map(String::as_str));
            template.check(|| of_headers.chain(of_records).collect())?;
        }
        if template.is_of_list() && !self.is_table {
            // What ends its lines is its own, but for the last.
            let text = template.execute(&records.to_vec().into())?;
            return Ok(if template.text().ends_with('\n') { text } else { text + "\n" });
        }
        let mut lines = Vec::new();
        if self.is_table {
            let names: serde_json::Map<String, Value> =
                headers.iter().map(|(field, header)| ((*field).to_owned(), Value::from(*header))).collect();
            lines.push(template.execute(&names.into())?);
        }
        for record in records {
            lines.push(template.execute(record)?);
        }
        if self.is_table {
            let cells = |line: &String| line.split('\t').map(str::to_owned).collect();
            return table(&lines.iter().map(cells).collect::<Vec<_>>());
        }
        Ok(lines.into_iter().map(|l| l + "\n").collect())
    }
}

/// Executes a Go template on one document, which has all fields that it may name.
pub(crate) fn execute(template: &str, record: &Value) -> Result<String, Error> {
    let template = Template::parse(template)?;
    if let Some(fields) = record.as_object() {
        template.check(|| fields.keys().map(String::as_str).collect())?;
    }
    template.execute(record)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_see_fields() {
        let record = serde_json::json!({"Name": "web", "Labels": {"a": "b"}, "N": 3});
        assert_eq!(execute("{{.Name}} {{.N}}", &record).unwrap(), "web 3");
        let error = execute("{{.Nope}}", &record).unwrap_err();
        assert_eq!(error.status(125), 125);
        let of_list = "{{range .}}{{.Name}};{{end}}";
        assert_eq!(by_template(of_list, &[], &[record.clone(), record.clone()]).unwrap(), "web;web;\n");
        // Where there is nothing, nothing is executed.
        assert_eq!(by_template("{{.Nope}}", &[], &[]).unwrap(), "");
        assert!(by_template("table {{.Nope}}", &[("Name", "NAMES")], &[]).is_err());
        assert!(by_template("{{.Nope}}", &[], std::slice::from_ref(&record)).is_err());
        let out =
            by_template("table {{.Name}}\\t{{.N}}", &[("Name", "NAMES"), ("N", "COUNT")], &[record]).unwrap();
        assert_eq!(out, "NAMES       COUNT\nweb         3\n");
        assert!(execute("{{.Name", &Value::Null).is_err());
    }
}
