//! How the processes of a machine learn that one of them has written to a file they share.
//!
//! SQLite does not tell. Whoever has committed sets the file's times to now, and those who wait have the kernel tell them
//! (`inotify(7)`, `IN_ATTRIB`). The file is never opened for that: to close it would let go of SQLite's own locks.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, UTIME_NOW, utimensat};
use tokio::sync::Notify;
use tokio::sync::futures::Notified;

/// The bell of one file.
#[derive(Debug)]
pub(crate) struct Bell {
    path: PathBuf,
    rung: Arc<Notify>,
    ear: Mutex<Option<ear::Ear>>,
}

impl Bell {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path, rung: Arc::default(), ear: Mutex::default() }
    }

    /// Wakes those who wait, in this process and in others.
    pub(crate) fn ring(&self) {
        self.rung.notify_waiters();
        if let Err(error) = touch(&self.path) {
            tracing::debug!(path = %self.path.display(), %error, "other processes will see the commit when they look");
        }
    }

    /// Ready at the next ring. Rings of other processes are heard while [`listen`](Self::listen) says so.
    pub(crate) fn rung(&self) -> Notified<'_> {
        self.rung.notified()
    }

    /// Whether rings of other processes are heard from now on; the file must exist. They are not where the kernel has no
    /// `inotify`, or no more instances for this user (`fs.inotify.max_user_instances`).
    pub(crate) fn listen(&self) -> bool {
        let mut ear = self.ear.lock().unwrap_or_else(PoisonError::into_inner);
        if ear.as_ref().is_some_and(ear::Ear::is_open) {
            return true;
        }
        match ear::Ear::open(&self.path, Arc::clone(&self.rung)) {
            Ok(open) => {
                *ear = Some(open);
                true
            }
            Err(error) => {
                tracing::debug!(path = %self.path.display(), %error, "other processes' commits are looked for");
                false
            }
        }
    }
}

fn touch(path: &Path) -> io::Result<()> {
    let now = Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
    let times = Timestamps { last_access: now, last_modification: now };
    Ok(utimensat(CWD, path, &times, AtFlags::empty())?)
}

#[cfg(target_os = "linux")]
mod ear {
    use std::mem::MaybeUninit;
    use std::os::fd::OwnedFd;
    use std::thread::JoinHandle;

    use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
    use rustix::fs::inotify::{CreateFlags, ReadFlags, Reader, WatchFlags, add_watch, init};
    use rustix::io::Errno;

    use super::{Arc, Notify, Path, io};

    /// Bytes of one read: some hundred of the kernel's messages.
    const MESSAGES_BYTES: usize = 4096;

    /// A thread that waits for the kernel's messages about a file; it ends when this is dropped.
    #[derive(Debug)]
    pub(super) struct Ear {
        hearing: JoinHandle<()>,
        enough: Arc<OwnedFd>,
    }

    impl Ear {
        pub(super) fn open(path: &Path, rung: Arc<Notify>) -> io::Result<Self> {
            let messages = init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
            add_watch(&messages, path, WatchFlags::ATTRIB)?;
            let enough = Arc::new(eventfd(0, EventfdFlags::CLOEXEC)?);
            let told = Arc::clone(&enough);
            let hearing = std::thread::Builder::new()
                .name("regrove-bell".to_owned())
                // Those who wait look by themselves too, and the next of them opens another ear.
                .spawn(move || hear(&messages, &told, &rung).unwrap_or_default())?;
            Ok(Self { hearing, enough })
        }

        pub(super) fn is_open(&self) -> bool {
            !self.hearing.is_finished()
        }
    }

    impl Drop for Ear {
        fn drop(&mut self) {
            // A number below the counter's limit: this neither blocks nor fails.
            rustix::io::write(&self.enough, &1_u64.to_ne_bytes()).unwrap_or_default();
        }
    }

    /// Returns when it is told `enough`, or when the file is gone.
    fn hear(messages: &OwnedFd, enough: &OwnedFd, rung: &Notify) -> Result<(), Errno> {
        let mut unread = [MaybeUninit::uninit(); MESSAGES_BYTES];
        loop {
            let mut ready = [PollFd::new(messages, PollFlags::IN), PollFd::new(enough, PollFlags::IN)];
            match poll(&mut ready, None) {
                Ok(_) => {}
                Err(Errno::INTR) => continue,
                Err(error) => return Err(error),
            }
            let [_, told] = ready;
            if !told.revents().is_empty() {
                return Ok(());
            }
            let mut read = Reader::new(messages, &mut unread);
            loop {
                match read.next() {
                    Ok(message) if message.events().contains(ReadFlags::IGNORED) => return Ok(()),
                    Ok(_) => {}
                    Err(Errno::WOULDBLOCK) => break,
                    Err(error) => return Err(error),
                }
            }
            rung.notify_waiters();
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod ear {
    use super::{Arc, Notify, Path, io};

    /// There is no way to hear here.
    #[derive(Debug)]
    pub(super) enum Ear {}

    impl Ear {
        pub(super) fn open(_path: &Path, _rung: Arc<Notify>) -> io::Result<Self> {
            Err(io::ErrorKind::Unsupported.into())
        }

        pub(super) fn is_open(&self) -> bool {
            match *self {}
        }
    }
}
