//! A connection on which methods are called and signals awaited, one at a time.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use rustix::net::SendFlags;

use super::Address;
use super::wire::{FIXED, Kind, Message, Value};

/// systemd starts and stops what has no programs of its own in milliseconds; who waits this long waits for nothing.
const TIMEOUT: Duration = Duration::from_secs(60);
/// So many signals that are not for us may come before the answer to a call.
const MAX_WAITING: usize = 10_000;
const SYSTEMD: &str = "org.freedesktop.systemd1";
const MANAGER: &str = "org.freedesktop.systemd1.Manager";
const OBJECT: &str = "/org/freedesktop/systemd1";
const DBUS: &str = "org.freedesktop.DBus";

/// Why a call has no result.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallError {
    /// Its name and text.
    #[error("{message}")]
    Refused { name: String, message: String },
    #[error(transparent)]
    Io(#[from] io::Error),
}

#[derive(Debug)]
pub(crate) struct Bus {
    socket: UnixStream,
    /// There is a bus between us and systemd.
    between: bool,
    serial: u32,
    signals: VecDeque<Message>,
}

impl Bus {
    /// Connects to the first address at which somebody answers.
    pub(crate) fn connect(addresses: &[Address]) -> Result<Self, CallError> {
        let mut first = None;
        for address in addresses {
            match Self::open(address) {
                Ok(bus) => return Ok(bus),
                Err(e) => first = first.or(Some(e)),
            }
        }
        Err(first.unwrap_or_else(|| io::Error::from(ErrorKind::NotFound).into()))
    }

    fn open(address: &Address) -> Result<Self, CallError> {
        let socket = address.connect()?;
        socket.set_write_timeout(Some(TIMEOUT))?;
        let between = address.is_bus();
        let mut bus = Self { socket, between, serial: 0, signals: VecDeque::new() };
        bus.authenticate()?;
        if between {
            bus.hello()?;
        }
        Ok(bus)
    }

    /// EXTERNAL without a name: the other side takes what the kernel says of us. A number would be wrong in a user
    /// namespace.
    fn authenticate(&mut self) -> io::Result<()> {
        self.write(b"\0AUTH EXTERNAL\r\nDATA\r\n")?;
        let end = Instant::now() + TIMEOUT;
        for expected in ["DATA", "OK"] {
            let line = self.line(end)?;
            if line.split(' ').next() != Some(expected) {
                let said = format!("it does not know us ({line})");
                return Err(io::Error::new(ErrorKind::PermissionDenied, said));
            }
        }
        self.write(b"BEGIN\r\n")
    }

    fn line(&mut self, end: Instant) -> io::Result<String> {
        let mut line = Vec::new();
        // A byte at a time: what follows the line is not ours to take.
        while !line.ends_with(b"\r\n") {
            let mut byte = [0];
            self.read(&mut byte, end)?;
            line.extend(byte);
            if line.len() > 1024 {
                return Err(ErrorKind::InvalidData.into());
            }
        }
        Ok(String::from_utf8_lossy(&line).trim_end().to_owned())
    }

    /// Makes us known to the bus, and lets it pass on what systemd says of its jobs.
    fn hello(&mut self) -> Result<(), CallError> {
        let rule = "type='signal',sender='org.freedesktop.systemd1',member='JobRemoved',\
                    interface='org.freedesktop.systemd1.Manager',path='/org/freedesktop/systemd1'";
        let to_bus = |member, body| Message {
            destination: DBUS.into(),
            ..Message::call("/org/freedesktop/DBus", DBUS, member, body)
        };
        let calls = [
            to_bus("Hello", Vec::new()),
            to_bus("AddMatch", vec![Value::text(rule)]),
            self.to_systemd(MANAGER, "Subscribe", Vec::new()),
        ];
        // All at once: each answer is a change of processes.
        let serials: Vec<_> = calls.into_iter().map(|call| self.send(call)).collect::<Result<_, _>>()?;
        serials.into_iter().try_for_each(|serial| self.answer(serial).map(drop))
    }

    fn to_systemd(&self, interface: &str, member: &str, body: Vec<Value>) -> Message {
        let mut call = Message::call(OBJECT, interface, member, body);
        if self.between {
            call.destination = SYSTEMD.to_owned();
        }
        call
    }

    /// Calls a method of systemd's manager.
    pub(crate) fn call(&mut self, member: &str, body: Vec<Value>) -> Result<Vec<Value>, CallError> {
        let serial = self.send(self.to_systemd(MANAGER, member, body))?;
        self.answer(serial)
    }

    /// A property of systemd's manager that is text.
    pub(crate) fn property(&mut self, name: &str) -> Result<String, CallError> {
        let body = vec![Value::text(MANAGER), Value::text(name)];
        let serial = self.send(self.to_systemd("org.freedesktop.DBus.Properties", "Get", body))?;
        let answer = self.answer(serial)?;
        let text = answer.first().and_then(Value::as_str).map(str::to_owned);
        text.ok_or_else(|| io::Error::from(ErrorKind::InvalidData).into())
    }

    /// Waits until a job that a method has returned is done; its result, in systemd's words.
    pub(crate) fn wait_for_job(&mut self, job: &str) -> Result<String, CallError> {
        let end = Instant::now() + TIMEOUT;
        loop {
            let signal = match self.signals.pop_front() {
                Some(signal) => signal,
                None => self.receive(end)?,
            };
            if signal.kind != Kind::Signal || signal.member != "JobRemoved" || signal.path != OBJECT {
                continue;
            }
            // Number, object, unit, result.
            let text = |i: usize| signal.body.get(i).and_then(Value::as_str);
            if text(1) == Some(job) {
                return Ok(text(3).unwrap_or_default().to_owned());
            }
        }
    }

    fn send(&mut self, mut message: Message) -> Result<u32, CallError> {
        self.serial += 1;
        message.serial = self.serial;
        self.write(&message.encode())?;
        Ok(self.serial)
    }

    fn answer(&mut self, serial: u32) -> Result<Vec<Value>, CallError> {
        let end = Instant::now() + TIMEOUT;
        loop {
            let message = self.receive(end)?;
            match message.kind {
                Kind::Return if message.answers == Some(serial) => return Ok(message.body),
                Kind::Error if message.answers == Some(serial) => {
                    let text = message.body.first().and_then(Value::as_str).unwrap_or(&message.error);
                    return Err(CallError::Refused { message: text.to_owned(), name: message.error });
                }
                // A job may be done before we know its number.
                Kind::Signal if message.member == "JobRemoved" => {
                    if self.signals.len() >= MAX_WAITING {
                        return Err(io::Error::from(ErrorKind::InvalidData).into());
                    }
                    self.signals.push_back(message);
                }
                _ => {}
            }
        }
    }

    fn receive(&mut self, end: Instant) -> io::Result<Message> {
        let mut start = [0; FIXED];
        self.read(&mut start, end)?;
        let length = Message::length(&start).ok_or(ErrorKind::InvalidData)?;
        let mut bytes = vec![0; length];
        bytes[..FIXED].copy_from_slice(&start);
        self.read(&mut bytes[FIXED..], end)?;
        Message::decode(&bytes).ok_or_else(|| ErrorKind::InvalidData.into())
    }

    fn write(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            // A peer that is gone is an error, not a signal.
            match rustix::net::send(&self.socket, bytes, SendFlags::NOSIGNAL) {
                Ok(n) => bytes = &bytes[n..],
                Err(rustix::io::Errno::INTR) => {}
                Err(e) => return Err(e.into()),
            }
        }
        Ok(())
    }

    fn read(&mut self, mut buffer: &mut [u8], end: Instant) -> io::Result<()> {
        while !buffer.is_empty() {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(ErrorKind::TimedOut.into());
            }
            self.socket.set_read_timeout(Some(left))?;
            match self.socket.read(buffer) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(n) => buffer = &mut buffer[n..],
                Err(e) if matches!(e.kind(), ErrorKind::Interrupted | ErrorKind::WouldBlock) => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }
}
