//! Front ends: who is connected, what they ask.

use std::io;
use std::os::fd::OwnedFd;

use loment_events::What;
use loment_runtime::Cause;
use loment_sys::pipe;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SocketFlags};

use super::{Monitor, free};
use crate::client::Client;
use crate::epoll::Token;
use crate::groups;
use crate::protocol::{Answer, MAX_PACKET, Request, Streams};
use crate::sink::Sink;

impl Monitor {
    pub(super) fn accept(&mut self, slot: u32) {
        let Some(c) = self.container(slot) else { return };
        if let Ok(socket) = rustix::net::accept_with(&c.listener, SocketFlags::CLOEXEC) {
            self.add_client(slot, socket);
        }
    }

    pub(super) fn add_client(&mut self, slot: u32, socket: OwnedFd) {
        let Ok(client) = Client::new(slot, socket) else { return };
        let n = free(&mut self.clients);
        if self.epoll.add(&client.socket, Token::Client(n)).is_ok() {
            self.clients[n as usize] = Some(client);
        }
    }

    pub(super) fn drop_client(&mut self, n: u32) {
        let Some(client) = self.clients[n as usize].take() else { return };
        self.epoll.remove(&client.socket);
        let others = self.clients.iter().flatten().any(|other| other.thaws && other.slot == client.slot);
        if let (true, false, Some(c)) = (client.thaws, others, self.container(client.slot)) {
            groups::thaw(&c.head.place);
        }
        if let Some(session) = client.session {
            self.resume(session);
        }
    }

    pub(super) fn serve_client(&mut self, n: u32) {
        if self.clients.get(n as usize).is_some_and(|c| c.as_ref().is_some_and(Client::is_behind)) {
            self.flush_client(n);
        }
        self.read_client(n);
    }

    pub(super) fn flush_client(&mut self, n: u32) {
        let Some(client) = self.clients[n as usize].as_mut() else { return };
        let session = client.session;
        if client.flush().is_err() || client.done && !client.is_behind() {
            return self.drop_client(n);
        }
        if !client.is_behind() {
            self.watch_client(n);
            if let Some(session) = session {
                self.resume(session);
            }
        }
    }

    /// Reads one request.
    pub(super) fn read_client(&mut self, n: u32) {
        let Some(client) = self.clients.get(n as usize).and_then(Option::as_ref) else { return };
        let mut buffer = vec![0; MAX_PACKET];
        let received = match pipe::receive(&client.socket, &mut buffer) {
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => return,
            Ok(r) if r.len > 0 && !r.truncated => r,
            _ => return self.drop_client(n),
        };
        match Request::receive(&buffer[..received.len], &received.fds) {
            Ok(request) => {
                let descriptors = Request::own_descriptors(&buffer[..received.len], received.fds);
                self.serve_request(n, request, descriptors);
            }
            Err(e) => self.send(n, &Answer::Failed { cause: Cause::Setup, message: e.to_string() }),
        }
    }

    pub(super) fn serve_request(&mut self, n: u32, request: Request, descriptors: Vec<OwnedFd>) {
        let Some(client) = self.clients[n as usize].as_ref().filter(|client| !client.done) else { return };
        let slot = client.slot;
        match (request, client.session) {
            (Request::Attach(streams), None) => self.join_main(n, slot, streams),
            (Request::Begin(streams), None) => self.begin_for(n, slot, streams),
            (Request::Wait, None) => self.join_main(n, slot, Streams::default()),
            (Request::Exec(exec), None) => self.exec(n, slot, &exec, descriptors),
            (Request::Check, None) => self.check_for(n, slot),
            (Request::Thaw, None) => self.thaw_after(n, slot),
            (Request::Reread, None) => self.reread(n, slot),
            (Request::Stop(stop), None) => {
                self.join_main(n, slot, Streams::default());
                self.stop(slot, &stop);
            }
            (Request::Input(data), Some(s)) => self.input(s, Some(&data)),
            (Request::InputEnd, Some(s)) => self.input(s, None),
            (Request::Resize { rows, columns }, Some(s)) => {
                if let Some(session) = self.session(s) {
                    let _ = session.resize(rows, columns);
                }
            }
            _ => {
                let message = "the request does not fit what this connection is used for".to_owned();
                self.send(n, &Answer::Failed { cause: Cause::Setup, message });
            }
        }
    }

    fn thaw_after(&mut self, n: u32, slot: u32) {
        let Some(pid) = self.running(slot) else { return self.drop_client(n) };
        if let Some(client) = self.clients[n as usize].as_mut() {
            client.thaws = true;
        }
        self.send(n, &Answer::Started { pid });
    }

    fn join_main(&mut self, n: u32, slot: u32, streams: Streams) {
        let Some(main) = self.container(slot).map(|c| c.main) else { return self.drop_client(n) };
        let pid = self.session(main).and_then(|s| s.pid);
        if let Some(client) = self.clients[n as usize].as_mut() {
            (client.session, client.streams) = (Some(main), streams);
        }
        if let Some(pid) = pid {
            if streams.any() {
                self.tell_of(slot, |reporter| vec![reporter.event(What::Attach)]);
            }
            self.send(n, &Answer::Started { pid });
        }
    }

    /// Runs what was prepared; whoever asks is told when it runs.
    fn begin_for(&mut self, n: u32, slot: u32, streams: Streams) {
        let Some(main) = self.container(slot).filter(|c| c.prepared).map(|c| c.main) else {
            return self.join_main(n, slot, streams);
        };
        if let Some(client) = self.clients[n as usize].as_mut() {
            (client.session, client.streams) = (Some(main), streams);
        }
        self.begin(slot);
    }

    /// The clients of a session have been told everything.
    pub(super) fn release_clients(&mut self, session: u32) {
        for n in 0..self.clients.len() {
            let Some(client) = self.clients[n].as_mut().filter(|c| c.session == Some(session)) else {
                continue;
            };
            (client.session, client.done) = (None, true);
            if !client.is_behind() {
                self.drop_client(n as u32);
            }
        }
    }

    /// Sends to every client of a session.
    pub(super) fn tell(&mut self, session: u32, answer: &Answer) {
        for n in 0..self.clients.len() {
            if self.clients[n].as_ref().is_some_and(|c| c.session == Some(session)) {
                self.send(n as u32, answer);
            }
        }
    }

    pub(super) fn send(&mut self, n: u32, answer: &Answer) {
        let Some(client) = self.clients[n as usize].as_mut() else { return };
        if client.send(answer).is_err() {
            return self.drop_client(n);
        }
        if client.is_behind() {
            self.watch_client(n);
        }
    }

    /// Listens to a client unless its program does not read, and waits for it to read when it is behind.
    pub(super) fn watch_client(&mut self, n: u32) {
        let Some(client) = self.clients[n as usize].as_ref() else { return };
        let session = client.session.filter(|_| client.streams.stdin);
        let sink = session.and_then(|s| self.sessions.get(s as usize)?.as_ref()?.sink.as_ref());
        let readable = !sink.is_some_and(Sink::is_blocked);
        let _ = self.epoll.set(&client.socket, Token::Client(n), readable, client.is_behind());
    }
}

/// Waits until a client says something, or has gone without.
pub(super) fn asks(client: &OwnedFd) -> bool {
    let mut byte = [0];
    loop {
        match rustix::net::recv(client, &mut byte, RecvFlags::PEEK) {
            Ok((length, _)) => return length > 0,
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => {
                // What goes wrong with this, it says.
                let _ = poll(&mut [PollFd::new(client, PollFlags::IN)], None);
            }
            Err(_) => return false,
        }
    }
}
