//! As much of HTTP/1.1 as clients of registries speak.

use std::collections::HashMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// Bytes of a request's head.
const MAX_HEAD: u64 = 64 << 10;
/// Bytes of a request's body.
const MAX_BODY: usize = 64 << 20;
/// Requests over one connection.
const MAX_REQUESTS: usize = 10_000;
/// A peer that says nothing for longer is gone.
const PATIENCE: Duration = Duration::from_secs(30);

/// A request as it was received.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) method: String,
    /// Path and query, as sent.
    pub(super) target: String,
    /// Names in lower case.
    headers: HashMap<String, String>,
    pub(super) body: Vec<u8>,
}

impl Request {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    pub(super) fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    /// A value of the query.
    pub(super) fn query(&self, name: &str) -> Option<String> {
        let (_, query) = self.target.split_once('?')?;
        let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        pairs.into_iter().find(|(key, _)| *key == name).map(|(_, value)| decoded(value))
    }
}

/// Without `%` and `+`.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let hex = tail.get(..2).filter(|_| *first == b'%').and_then(|hex| std::str::from_utf8(hex).ok());
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            None => {
                bytes.push(if *first == b'+' { b' ' } else { *first });
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// What is answered.
#[derive(Debug)]
pub(super) struct Response {
    pub(super) status: u16,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
}

impl Response {
    pub(super) fn new(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: Vec::new() }
    }

    /// An error in the words of distribution-spec 1.1, "Error Codes".
    pub(super) fn error(status: u16, code: &str) -> Self {
        let body = format!(r#"{{"errors":[{{"code":"{code}","message":"{code}"}}]}}"#);
        Self::new(status).with("Content-Type", "application/json").body(body)
    }

    pub(super) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    pub(super) fn body(self, body: impl Into<Vec<u8>>) -> Self {
        Self { body: body.into(), ..self }
    }

    /// A HEAD gets the length of what a GET would get.
    fn write(&self, to: &mut TcpStream, head_only: bool) -> io::Result<()> {
        let mut head = format!("HTTP/1.1 {} -\r\n", self.status);
        head += "Docker-Distribution-Api-Version: registry/2.0\r\n";
        for (name, value) in &self.headers {
            head += &format!("{name}: {value}\r\n");
        }
        if self.status != 204 {
            head += &format!("Content-Length: {}\r\n", self.body.len());
        }
        head += "\r\n";
        to.write_all(head.as_bytes())?;
        if head_only { Ok(()) } else { to.write_all(&self.body) }
    }
}

/// Answers what comes over a connection, until it ends or is no HTTP.
pub(super) fn converse(stream: TcpStream, answer: impl Fn(&Request) -> Option<Response>) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.set_nodelay(true)?;
    let mut writer = stream.try_clone()?;
    let mut reader = BufReader::new(stream);
    for _ in 0..MAX_REQUESTS {
        let Some(mut request) = read_head(&mut reader)? else { break };
        if request.header("expect").is_some_and(|e| e.eq_ignore_ascii_case("100-continue")) {
            writer.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
        }
        let mut body = Vec::new();
        let read = read_body(&mut reader, &request, &mut body);
        request.body = body;
        if let Err(error) = read {
            // What came of an upload stays when it breaks off, and that is all.
            if request.method == "PATCH" {
                drop(answer(&request));
            }
            return Err(error);
        }
        let Some(response) = answer(&request) else { break };
        response.write(&mut writer, request.method == "HEAD")?;
        if request.header("connection").is_some_and(|c| c.eq_ignore_ascii_case("close")) {
            break;
        }
    }
    Ok(())
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// `None` at the end of the connection.
fn read_head(reader: &mut impl BufRead) -> io::Result<Option<Request>> {
    let mut limited = reader.take(MAX_HEAD);
    let mut line = String::new();
    if limited.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split_ascii_whitespace();
    let (Some(method), Some(target)) = (words.next(), words.next()) else {
        return Err(invalid("a request line"));
    };
    let (method, target) = (method.to_owned(), target.to_owned());
    let mut headers = HashMap::new();
    loop {
        line.clear();
        if limited.read_line(&mut line)? == 0 {
            return Err(invalid("the end of the head"));
        }
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    Ok(Some(Request { method, target, headers, body: Vec::new() }))
}

fn read_body(reader: &mut impl BufRead, request: &Request, body: &mut Vec<u8>) -> io::Result<()> {
    if request.header("transfer-encoding").is_none_or(|e| !e.eq_ignore_ascii_case("chunked")) {
        let length = request.header("content-length").map_or(Ok(0), str::parse);
        read_exactly(reader, length.map_err(|_| invalid("a length"))?, body)?;
        return Ok(());
    }
    loop {
        let mut line = String::new();
        reader.take(100).read_line(&mut line)?;
        let size = line.trim_end().split(';').next().unwrap_or_default();
        let size = usize::from_str_radix(size, 16).map_err(|_| invalid("the size of a chunk"))?;
        read_exactly(reader, size, body)?;
        reader.take(100).read_line(&mut line)?;
        // Nobody sends trailers.
        if size == 0 {
            return Ok(());
        }
    }
}

fn read_exactly(reader: &mut impl BufRead, length: usize, body: &mut Vec<u8>) -> io::Result<()> {
    if length > MAX_BODY || body.len() + length > MAX_BODY {
        return Err(invalid("a body that is not too long"));
    }
    if reader.take(length as u64).read_to_end(body)? == length {
        Ok(())
    } else {
        Err(invalid("the rest of a body"))
    }
}
