//! Starting processes that do not outlive the runtime.
//!
//! Linux sends the parent-death signal when the *thread* that forked ends, not the process. So all processes are forked
//! by one thread that lives as long as the runtime: when the runtime is killed, that thread dies and its children do.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::mem::ManuallyDrop;
use std::net::TcpListener;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Arc, mpsc};
use std::thread;

use rustix::io::{FdFlags, fcntl_setfd};
use rustix::process::{
    Pid, Resource, Rlimit, Signal, getpid, getppid, getrlimit, kill_process_group, set_parent_process_death_signal,
    setrlimit,
};
use tokio::process::{Child, Command};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

/// Number of the descriptor at which an inherited socket is expected (`LISTEN_FDS`).
const LISTEN_FD: RawFd = 3;

/// Variables of the runtime's own environment that no function may see: they would speak of another process.
const NOT_INHERITED: [&str; 9] = [
    "PORT",
    "K_SERVICE",
    "K_REVISION",
    "K_CONFIGURATION",
    "K_SINK",
    "K_CE_OVERRIDES",
    "LISTEN_FDS",
    "LISTEN_PID",
    "LISTEN_FDNAMES",
];

/// One process to start.
#[derive(Debug, Clone)]
pub(crate) struct Launch {
    /// Program, looked up in `PATH` when it has no slash.
    pub(crate) program: OsString,
    /// Arguments.
    pub(crate) args: Vec<String>,
    /// Variables over those of the runtime itself.
    pub(crate) env: BTreeMap<String, String>,
    /// Folder to start in; that of the runtime when there is none.
    pub(crate) dir: Option<PathBuf>,
    /// Listening socket to pass as descriptor 3.
    pub(crate) listener: Option<Arc<TcpListener>>,
}

struct Job {
    launch: Launch,
    started: oneshot::Sender<io::Result<Child>>,
}

/// Raises the limit of open files to what the system allows, and answers with the one before. Ten thousand waiting
/// requests are as many connections, and the usual limit is 1,024.
fn raise_open_files() -> Rlimit {
    let before = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: before.maximum, maximum: before.maximum }) {
        tracing::debug!(%error, "the limit of open files stays as it is");
    }
    before
}

/// The thread that starts processes.
#[derive(Debug, Clone)]
pub(crate) struct Spawner {
    jobs: mpsc::Sender<Job>,
}

impl Spawner {
    /// Starts the thread; it ends when the last clone is dropped, and takes what it has started with it.
    pub(crate) fn start(handle: Handle) -> io::Result<Self> {
        let (jobs, queue) = mpsc::channel::<Job>();
        let open_files = raise_open_files();
        thread::Builder::new().name("regrove-spawn".to_owned()).spawn(move || {
            let _inside = handle.enter();
            for job in queue {
                // Nobody waits any more: the child is dropped, which kills it.
                drop(job.started.send(spawn(&job.launch, open_files)));
            }
        })?;
        Ok(Self { jobs })
    }

    /// Starts a process in a group of its own, with no input and with its output in pipes.
    pub(crate) async fn spawn(&self, launch: Launch) -> io::Result<Child> {
        let (started, result) = oneshot::channel();
        let gone = || io::Error::other("the thread that starts processes has ended");
        self.jobs.send(Job { launch, started }).map_err(|_| gone())?;
        result.await.map_err(|_| gone())?
    }
}

#[expect(unsafe_code, reason = "the parent-death signal and descriptor 3 can only be set between fork and exec")]
fn spawn(launch: &Launch, open_files: Rlimit) -> io::Result<Child> {
    let mut command = Command::new(&launch.program);
    for name in NOT_INHERITED {
        command.env_remove(name);
    }
    command
        .args(&launch.args)
        .envs(&launch.env)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // Ctrl-C on the terminal reaches the runtime only, which then stops its processes in order.
        .process_group(0)
        .kill_on_drop(true);
    if let Some(dir) = &launch.dir {
        command.current_dir(dir);
    }
    let _placeholders = occupy_listen_fd()?;
    let listener = launch.listener.clone();
    let parent = getpid();
    // SAFETY: the closure runs in the forked child, where only async-signal-safe calls are allowed. It makes raw system
    // calls through rustix (prctl, getppid, prlimit, fcntl, dup2) and neither allocates nor takes a lock; the error it returns
    // is built from an errno without allocation.
    unsafe {
        command.pre_exec(move || {
            set_parent_process_death_signal(Some(Signal::KILL))?;
            if getppid() != Some(parent) {
                // The runtime died between fork and prctl: the signal would never come.
                return Err(rustix::io::Errno::SRCH.into());
            }
            // Programs may rely on small descriptors (`select`), so they get the limit that they would have had.
            setrlimit(Resource::Nofile, open_files)?;
            match &listener {
                Some(listener) => inherit_as_listen_fd(listener.as_fd()),
                None => Ok(()),
            }
        });
    }
    command.spawn()
}

/// Opens descriptors until number 3 is in use, so that the standard library's own pipe to the child cannot be there
/// when the socket is put in its place.
fn occupy_listen_fd() -> io::Result<Vec<OwnedFd>> {
    let mut opened = Vec::new();
    loop {
        let file: OwnedFd = std::fs::File::open("/dev/null")?.into();
        let number = file.as_raw_fd();
        opened.push(file);
        if number > LISTEN_FD {
            return Ok(opened);
        }
    }
}

/// Makes the socket descriptor 3 and lets it survive exec. For use between fork and exec.
#[expect(unsafe_code, reason = "rustix wants the target of dup2 as an owned descriptor")]
fn inherit_as_listen_fd(socket: BorrowedFd<'_>) -> io::Result<()> {
    if socket.as_raw_fd() == LISTEN_FD {
        return Ok(fcntl_setfd(socket, FdFlags::empty())?);
    }
    // SAFETY: descriptor 3 is open in the child (see `occupy_listen_fd`) or becomes so by dup2; `ManuallyDrop` keeps
    // this owner from closing it, and no other owner uses it before exec replaces the program.
    let mut target = ManuallyDrop::new(unsafe { OwnedFd::from_raw_fd(LISTEN_FD) });
    Ok(rustix::io::dup2(socket, &mut target)?)
}

/// Sends a signal to the process and all in its group. A group that is gone is no error.
pub(crate) fn signal_group(child: &Child, signal: Signal) {
    // A child that was waited for has no number any more, so no stranger can be hit.
    let Some(pid) = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw) else {
        return;
    };
    if let Err(error) = kill_process_group(pid, signal) {
        tracing::debug!(%error, pid = pid.as_raw_nonzero().get(), "signal not sent");
    }
}
