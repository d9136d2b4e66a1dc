//! Moving what programs write and read.

use super::Monitor;
use crate::client::Client;
use crate::epoll::Token;
use crate::protocol::{Answer, Streams};
use crate::sink::Progress;
use crate::source::Chunk;

/// How much of a program's output is read at once, in bytes.
const CHUNK: usize = 16 * 1024;

impl Monitor {
    pub(super) fn pump(&mut self, n: u32, i: usize) {
        if !self.read_source(n, i) && self.session(n).is_some_and(|s| s.exit.is_some()) {
            self.drain(n);
        }
    }

    /// Reads one chunk and hands it on. `false` when there was none.
    pub(super) fn read_source(&mut self, n: u32, i: usize) -> bool {
        // Not on the stack: its pages would stay while the monitor sleeps.
        let mut buffer = vec![0; CHUNK];
        let Some(source) = self.sessions.get(n as usize).and_then(|s| s.as_ref()?.sources[i].as_ref()) else {
            return false;
        };
        let stream = source.stream;
        let data = match source.read(&mut buffer) {
            Chunk::Data(data) => data,
            Chunk::Nothing => return false,
            Chunk::End => {
                self.close_source(n, i);
                return false;
            }
        };
        if let Some(capture) = self.sessions[n as usize].as_mut().and_then(|s| s.capture.as_mut()) {
            capture.take(data);
            return true;
        }
        let slot = self.container_of_main(n);
        if let Some(c) = slot.and_then(|slot| self.container(slot)) {
            // A full disk must not stop the container; the lines are lost, its clients still get them.
            let _ = c.log.write(stream, data);
        }
        let mut behind = slot.is_some_and(|slot| self.after_log(slot));
        let answer = match i {
            0 => Answer::Output(data.to_vec()),
            _ => Answer::ErrorOutput(data.to_vec()),
        };
        let wants = |s: &Streams| if i == 0 { s.stdout } else { s.stderr };
        for c in 0..self.clients.len() {
            if self.clients[c].as_ref().is_some_and(|c| c.session == Some(n) && wants(&c.streams)) {
                self.send(c as u32, &answer);
                behind |= self.clients[c].as_ref().is_some_and(Client::is_behind);
            }
        }
        if behind && let Some(source) = self.sessions[n as usize].as_mut().and_then(|s| s.sources[i].as_mut())
        {
            source.paused = true;
            self.epoll.remove(&source.fd);
        }
        true
    }

    pub(super) fn close_source(&mut self, n: u32, i: usize) {
        if let Some(source) = self.session(n).and_then(|s| s.sources[i].take()) {
            self.epoll.remove(&source.fd);
            if let Some(slot) = self.container_of_main(n)
                && let Some(c) = self.container(slot)
            {
                let _ = c.log.finish(source.stream);
                self.after_log(slot);
            }
        }
        self.finish_exec(n);
    }

    /// Reads on from sources that waited for a client.
    pub(super) fn resume(&mut self, n: u32) {
        let log_waits = self.container_of_main(n).is_some_and(|slot| self.log_waits(slot));
        if log_waits || self.clients.iter().flatten().any(|c| c.session == Some(n) && c.is_behind()) {
            return;
        }
        let Some(session) = self.sessions.get_mut(n as usize).and_then(Option::as_mut) else { return };
        for (i, source) in session.sources.iter_mut().enumerate() {
            if let Some(s) = source.as_mut().filter(|s| s.paused) {
                s.paused = false;
                let _ = self.epoll.set(&s.fd, Token::Source(n, i == 1), true, false);
            }
        }
        if session.exit.is_some() {
            self.drain(n);
        }
    }

    /// The program reads again.
    pub(super) fn feed(&mut self, n: u32) {
        let progress = self.session(n).and_then(|s| s.sink.as_mut()).map(|s| s.flush());
        self.after_input(n, progress);
    }

    pub(super) fn input(&mut self, n: u32, data: Option<&[u8]>) {
        let progress = self.session(n).and_then(|s| s.sink.as_mut()).map(|s| match data {
            Some(data) => s.push(data),
            None => s.end(),
        });
        self.after_input(n, progress);
    }

    /// While the program does not read, its clients are not read from either.
    pub(super) fn after_input(&mut self, n: u32, progress: Option<Progress>) {
        let Some(progress) = progress else { return };
        let Some(session) = self.sessions.get_mut(n as usize).and_then(Option::as_mut) else { return };
        match (progress, &session.sink) {
            (Progress::Blocked, Some(sink)) => drop(self.epoll.set(&sink.fd, Token::Sink(n), false, true)),
            (Progress::Idle, Some(sink)) => self.epoll.remove(&sink.fd),
            // The end of a terminal's input is a character that its user types, not a closed descriptor.
            (Progress::Done, Some(sink)) if session.terminal.is_none() => {
                self.epoll.remove(&sink.fd);
                session.sink = None;
            }
            _ => {}
        }
        for c in 0..self.clients.len() {
            if self.clients[c].as_ref().is_some_and(|c| c.session == Some(n) && c.streams.stdin) {
                self.watch_client(c as u32);
            }
        }
    }
}
