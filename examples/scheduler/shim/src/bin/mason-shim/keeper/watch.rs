//! Waits for the things that can happen to a running container, and does what each asks for.

use std::io;
use std::os::fd::AsFd;

use mason_shim::exit::Why;
use mason_shim::fence::{boottime, unix};
use mason_shim::log::Stream;
use mason_shim::request::{Answer, Request};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, Signal, WaitOptions, WaitStatus};
use rustix::process::{kill_process, pidfd_send_signal, wait};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};

use super::Keeper;
use crate::clients::{Client, Heard};
use crate::container::Process;

/// How often a pipe is read before others have their turn.
const READS_MAX: usize = 16;

/// Who is ready, in the order in which they were asked.
struct Ready {
    listener: bool,
    pipes: [bool; 2],
    clients: Vec<bool>,
}

impl Keeper {
    /// Attends to the container until it has ended.
    pub(super) fn watch(&mut self, container: &Process) -> io::Result<WaitStatus> {
        let timer = timerfd_create(TimerfdClockId::Boottime, TimerfdFlags::CLOEXEC)?;
        loop {
            self.keep_time(container);
            set_timer(&timer, self.next_time())?;
            let ready = self.wait(&timer, container)?;
            for (at, _) in ready.pipes.iter().enumerate().filter(|(_, ready)| **ready) {
                self.read_pipe(at, READS_MAX);
            }
            if let Some(ended) = self.reap(container.pid) {
                return Ok(ended);
            }
            if ready.listener {
                Client::accept(&self.listener, &mut self.clients);
            }
            for at in (0..ready.clients.len()).rev().filter(|&at| ready.clients[at]) {
                self.hear(at, container);
            }
        }
    }

    /// Sleeps until something happens.
    fn wait(&self, timer: &impl AsFd, container: &Process) -> io::Result<Ready> {
        let mut fds = vec![
            PollFd::new(timer, PollFlags::IN),
            PollFd::new(&container.handle, PollFlags::IN),
            PollFd::new(&self.listener, PollFlags::IN),
        ];
        let execs: Vec<_> = self.clients.iter().filter_map(|client| client.exec.as_ref()).collect();
        let handles: Vec<_> = execs.iter().map(|exec| exec.handle()).collect();
        let fixed = fds.len();
        for client in &self.clients {
            fds.push(PollFd::new(&client.stream, PollFlags::IN));
        }
        let pipes_at = fds.len();
        for pipe in self.pipes.iter().flatten() {
            fds.push(PollFd::new(pipe, PollFlags::IN));
        }
        for handle in &handles {
            fds.push(PollFd::new(handle, PollFlags::IN));
        }
        match poll(&mut fds, None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let is_ready = |at: usize| !fds[at].revents().is_empty();
        let clients = (fixed..pipes_at).map(is_ready).collect();
        let mut places = pipes_at..;
        let pipes = [0, 1].map(|at| {
            // Only those that are open were asked.
            self.pipes[at].is_some() && places.next().is_some_and(is_ready)
        });
        Ok(Ready { listener: is_ready(2), pipes, clients })
    }

    /// When something is due, by the clock of deadlines.
    fn next_time(&self) -> Option<u64> {
        let timeout = self.timeout_at.filter(|_| self.stopping.is_none());
        [timeout, self.kill_at, self.fence_deadline()].into_iter().flatten().min()
    }

    /// Does what is due.
    fn keep_time(&mut self, container: &Process) {
        let now = boottime();
        if self.fence_deadline().is_some_and(|deadline| deadline <= now) {
            // No grace: another copy may start the moment the margin is over.
            self.stopping.get_or_insert(Why::Fenced);
            self.fence = None;
            self.kill_at = Some(now);
        }
        if self.stopping.is_none() && self.timeout_at.is_some_and(|at| at <= now) {
            let (signal, grace) = (self.settings.stop_signal, self.settings.grace);
            self.stop(container, signal, grace, Why::Timeout);
        }
        if self.kill_at.is_some_and(|at| at <= now) {
            self.kill_at = None;
            // The first process of a PID namespace takes all others with it.
            let _ = pidfd_send_signal(&container.handle, Signal::KILL);
        }
    }

    fn stop(&mut self, container: &Process, signal: i32, grace: u64, why: Why) {
        let kill_at = boottime().saturating_add(grace);
        let sooner = self.kill_at.is_none_or(|at| kill_at < at);
        if sooner && (self.kill_at.is_some() || self.stopping.is_none()) {
            self.kill_at = Some(kill_at);
        }
        self.stopping.get_or_insert(why);
        if grace > 0 {
            let _ = send(container, signal);
        }
    }

    /// Reads a pipe; closes it at its end. Whether there may be more.
    fn read_pipe(&mut self, at: usize, reads_max: usize) -> bool {
        let stream = if at == 0 { Stream::Stdout } else { Stream::Stderr };
        for _ in 0..reads_max {
            let Some(pipe) = &self.pipes[at] else { return false };
            match rustix::io::read(pipe, &mut *self.buffer) {
                Ok(0) => self.pipes[at] = None,
                Ok(got) => {
                    self.log.append(stream, unix(), &self.buffer[..got]);
                    if stream == Stream::Stdout {
                        self.printed.push(&self.buffer[..got]);
                    }
                }
                Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::AGAIN) => return false,
                Err(_) => self.pipes[at] = None,
            }
        }
        true
    }

    /// Reads what is still in the pipes of a container that is gone.
    pub(super) fn drain(&mut self) {
        for at in 0..self.pipes.len() {
            while self.read_pipe(at, READS_MAX) {}
        }
    }

    /// Reaps all that have ended; the container's end, if it is among them.
    fn reap(&mut self, container: Pid) -> Option<WaitStatus> {
        let mut ended = None;
        while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
            if pid == container {
                ended = Some(status);
                continue;
            }
            let of =
                |client: &&mut Client| client.exec.as_ref().is_some_and(|exec| exec.pid() == pid);
            if let Some(client) = self.clients.iter_mut().find(of) {
                client.exec = None;
                let signal = status.terminating_signal().map(|signal| 128 + signal);
                let code = status.exit_status().or(signal).unwrap_or(255);
                let _ = client.answer(&Answer::Code(code));
            }
        }
        ended
    }

    /// Attends to a connection.
    fn hear(&mut self, at: usize, container: &Process) {
        let answer = match self.clients[at].hear() {
            Heard::Nothing => return,
            Heard::Closed => {
                self.clients.swap_remove(at);
                return;
            }
            Heard::Nonsense(what) => {
                let _ = self.clients[at].answer(&Answer::Error(what));
                self.clients.swap_remove(at);
                return;
            }
            Heard::Request(request) => self.obey(at, container, request),
        };
        if self.clients[at].answer(&answer).is_err() {
            self.clients.swap_remove(at);
        }
    }

    fn obey(&mut self, at: usize, container: &Process, request: Request) -> Answer {
        match request {
            Request::State => Answer::State(self.state(container.pid)),
            Request::Stop { signal, grace, why } => {
                self.stop(container, signal, grace, Why::Stopped(why));
                self.keep_time(container);
                Answer::Done
            }
            Request::Signal { number } => match send(container, number) {
                Ok(()) => Answer::Done,
                Err(error) => Answer::Error(format!("signal {number}: {error}")),
            },
            Request::Exec(_) if self.clients[at].exec.is_some() => {
                Answer::Error("this connection runs something already".to_owned())
            }
            Request::Exec(exec) => {
                let fds = std::mem::take(&mut self.clients[at].fds);
                match self.runtime.exec(&exec, fds) {
                    Ok(running) => {
                        let pid = running.pid().as_raw_pid();
                        self.clients[at].exec = Some(running);
                        Answer::Pid(pid)
                    }
                    Err(error) => Answer::Error(error.to_string()),
                }
            }
        }
    }
}

fn send(container: &Process, signal: i32) -> io::Result<()> {
    // It cannot have become another process: only this one may reap it.
    match Signal::from_named_raw(signal) {
        Some(signal) => Ok(kill_process(container.pid, signal)?),
        None => Err(io::Error::other("there is no such signal")),
    }
}

fn set_timer(timer: &impl AsFd, at: Option<u64>) -> io::Result<()> {
    // A time of 0 would disarm it.
    let at = at.map_or(0, |at| at.max(1));
    let value = Timespec {
        tv_sec: i64::try_from(at / 1000).unwrap_or(i64::MAX),
        tv_nsec: i64::try_from(at % 1000 * 1_000_000).expect("less than a second"),
    };
    let zero = Timespec { tv_sec: 0, tv_nsec: 0 };
    let timer_value = Itimerspec { it_interval: zero, it_value: value };
    timerfd_settime(timer, TimerfdTimerFlags::ABSTIME, &timer_value)?;
    Ok(())
}
