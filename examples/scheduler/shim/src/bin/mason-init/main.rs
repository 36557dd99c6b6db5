//! The first process of a container: starts the program, hands on signals, reaps orphans.
//!
//! It follows `dumb-init`, whose behaviour people know:
//!
//! * The program runs in a session of its own. A signal goes to its whole process group, as from a
//!   terminal; which one is decided by the rewrites of [`mason_shim::init`].
//! * SIGTSTP, SIGTTIN and SIGTTOU stop the group, and then itself, so that a shell around it gets
//!   its prompt back; as process 1 it cannot be stopped, and goes on.
//! * Every child that has ended is reaped, whoever its parent was.
//! * When the program ends, the rest of its group gets SIGTERM, and this process ends with the
//!   program's code, or 128 and the signal that ended it. As process 1 it takes everything with it.
//! * A program that cannot be run is named, with 127 if it is not there and 126 otherwise; 2 is a
//!   command line that cannot be read.
//!
//! Unlike it, it dies with its keeper (`PR_SET_PDEATHSIG`), and it can write the program's end on a
//! descriptor, so that exit code 137 can be told from SIGKILL.

mod sys;

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::process::{Command, ExitCode};

use mason_shim::init::Options;
use rustix::process::{Pid, Signal, WaitOptions, WaitStatus};
use rustix::process::{getpid, kill_process, kill_process_group, wait};

fn main() -> ExitCode {
    let words = std::env::args_os().skip(1).map(std::ffi::OsString::into_string);
    let words: Result<Vec<String>, _> = words.collect();
    let options = match words.map_err(|word| format!("{} is no UTF-8", word.display())) {
        Ok(words) => Options::parse(&words),
        Err(error) => Err(error),
    };
    let options = match options {
        Ok(options) => options,
        Err(error) => {
            eprintln!("mason-init: {error}");
            return ExitCode::from(2);
        }
    };
    // Who starts the container is gone by the time the keeper lets its program start, so the
    // parent is the keeper now.
    let _ = rustix::process::set_parent_process_death_signal(Some(Signal::KILL));
    let status = options.status_fd.and_then(sys::own);
    sys::block_signals();
    let code = match start(&options) {
        Ok(program) => {
            let ended = attend(&options, program);
            if let Some(mut status) = status {
                tell(&mut status, ended);
            }
            code_of(ended)
        }
        Err(code) => code,
    };
    ExitCode::from(code)
}

fn start(options: &Options) -> Result<Pid, u8> {
    let mut command = Command::new(&options.command[0]);
    command.args(&options.command[1..]);
    sys::in_own_session(&mut command);
    match command.spawn() {
        Ok(child) => Ok(Pid::from_child(&child)),
        Err(error) => {
            eprintln!("mason-init: cannot run `{}`: {error}", options.command[0]);
            Err(if error.kind() == ErrorKind::NotFound { 127 } else { 126 })
        }
    }
}

/// Hands on signals until the program has ended.
fn attend(options: &Options, program: Pid) -> WaitStatus {
    loop {
        let signal = sys::next_signal();
        if signal == libc::SIGCHLD {
            if let Some(ended) = reap(program) {
                // What the program left behind may tidy up, as far as there is time.
                let _ = kill_process_group(program, Signal::TERM);
                return ended;
            }
            continue;
        }
        let Some(to) = options.rewritten(signal) else { continue };
        sys::signal_group(program, to);
        if matches!(signal, libc::SIGTSTP | libc::SIGTTIN | libc::SIGTTOU) {
            let _ = kill_process(getpid(), Signal::STOP);
        }
    }
}

/// Reaps all that have ended; the program's end, if it is among them.
fn reap(program: Pid) -> Option<WaitStatus> {
    let mut ended = None;
    // One signal can stand for many children.
    while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
        if pid == program {
            ended = Some(status);
        }
    }
    ended
}

fn code_of(ended: WaitStatus) -> u8 {
    let signal = ended.terminating_signal().map(|signal| 128 + signal);
    let code = ended.exit_status().or(signal).unwrap_or(255);
    u8::try_from(code & 0xff).expect("a code is a byte")
}

/// Two bytes: the exit code, or 0, and the signal, or 0.
fn tell(status: &mut File, ended: WaitStatus) {
    let byte = |number: Option<i32>| u8::try_from(number.unwrap_or(0)).unwrap_or(0);
    let _ = status.write_all(&[byte(ended.exit_status()), byte(ended.terminating_signal())]);
}
