//! A real Redis server.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::port::Port;

/// What the server says when it can be used.
const READY: &str = "Ready to accept connections";

/// How a server is to be reached.
#[derive(Debug, Clone, Default)]
pub struct RedisOptions {
    /// Only over TLS, with a certificate of an authority of its own; see [`RedisServer::ca`].
    pub tls: bool,
    /// Only as this user with this password, who may touch `regrove:*` and do nothing dangerous.
    pub user: Option<(String, String)>,
}

/// A Redis that appends to a file in a temporary directory, on a port of 127.0.0.1 that stays its own while it is away.
#[derive(Debug)]
pub struct RedisServer {
    options: RedisOptions,
    directory: TempDir,
    port: Port,
    child: Option<Child>,
}

impl RedisServer {
    /// Starts a server without TLS and without a password, and waits until it is ready.
    ///
    /// # Errors
    /// When `redis-server` is missing or does not start: `cargo xtask test` installs it.
    pub fn start() -> Result<Self> {
        Self::start_with(RedisOptions::default())
    }

    /// Starts a server and waits until it is ready.
    ///
    /// # Errors
    /// As [`start`](Self::start); also when `openssl` cannot make the certificates.
    pub fn start_with(options: RedisOptions) -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("regrove-redis-").tempdir()?;
        if options.tls {
            make_certificates(directory.path()).context("certificates for Redis")?;
        }
        let mut server = Self { options, directory, port: Port::reserve()?, child: None };
        server.run()?;
        Ok(server)
    }

    /// `redis://` or `rediss://`, with the user and password if there are any.
    pub fn url(&self) -> String {
        let scheme = if self.options.tls { "rediss" } else { "redis" };
        match &self.options.user {
            Some((user, password)) => format!("{scheme}://{user}:{password}@localhost:{}/0", self.port()),
            None => format!("{scheme}://localhost:{}/0", self.port()),
        }
    }

    /// The port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port.number()
    }

    /// Where it keeps its data.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// The PEM file of the authority that vouches for a server with TLS.
    pub fn ca(&self) -> PathBuf {
        self.directory.path().join("ca.pem")
    }

    /// Kills the server at once (SIGKILL). What it was told before is in its file.
    ///
    /// # Errors
    /// When it cannot be waited for.
    pub fn kill(&mut self) -> Result<()> {
        if let Some(mut child) = self.child.take() {
            child.kill()?;
            child.wait()?;
        }
        Ok(())
    }

    /// Starts a killed server again: same port, same data.
    ///
    /// # Errors
    /// When it does not start.
    pub fn restart(&mut self) -> Result<()> {
        self.kill()?;
        self.run()
    }

    /// Stops the server where it is (SIGSTOP): it keeps its connections and answers nothing.
    ///
    /// # Errors
    /// When the signal cannot be sent.
    pub fn pause(&self) -> Result<()> {
        self.signal(Signal::STOP)
    }

    /// Lets a paused server go on (SIGCONT).
    ///
    /// # Errors
    /// When the signal cannot be sent.
    pub fn resume(&self) -> Result<()> {
        self.signal(Signal::CONT)
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        let child = self.child.as_ref().context("the server was killed")?;
        kill_process(Pid::from_child(child), signal).context("signal to redis-server")
    }

    /// Starts the process and waits until it is ready.
    fn run(&mut self) -> Result<()> {
        let mut command = Command::new("redis-server");
        let (plain, tls) = if self.options.tls { (0, self.port()) } else { (self.port(), 0) };
        command.args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "yes", "--loglevel", "notice"]);
        command.arg("--port").arg(plain.to_string()).arg("--dir").arg(self.directory.path());
        if self.options.tls {
            command.arg("--tls-port").arg(tls.to_string()).args(["--tls-auth-clients", "no"]);
            for (option, file) in
                [("--tls-cert-file", "server.pem"), ("--tls-key-file", "server.key"), ("--tls-ca-cert-file", "ca.pem")]
            {
                command.arg(option).arg(self.directory.path().join(file));
            }
        }
        if let Some((user, password)) = &self.options.user {
            command.args(["--user", "default", "off"]);
            command.args(["--user", user, "on", &format!(">{password}"), "~regrove:*", "+@all", "-@dangerous"]);
        }
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .context("redis-server cannot be started; `cargo xtask test` installs it")?;
        let output = child.stdout.take().context("no standard output of redis-server")?;
        let mut lines = BufReader::new(output).lines();
        let ready = lines.by_ref().map_while(Result::ok).any(|line| line.contains(READY));
        if !ready {
            bail!("redis-server on port {} ended before it was ready: {}", self.port(), child.wait()?);
        }
        // A full pipe would stop the server.
        std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
        self.child = Some(child);
        Ok(())
    }
}

impl Drop for RedisServer {
    #[expect(clippy::print_stderr, reason = "nobody can be told otherwise, and the server may outlive the test")]
    fn drop(&mut self) {
        if let Err(error) = self.kill() {
            eprintln!("redis-server may still be running: {error}");
        }
    }
}

/// Makes `ca.pem` and, signed by it, `server.pem` with `server.key` for localhost; valid for a day.
fn make_certificates(directory: &Path) -> Result<()> {
    fs::write(directory.join("server.ext"), "subjectAltName = DNS:localhost, IP:127.0.0.1\n")?;
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
    openssl(directory, &format!("req -x509 {key} -keyout ca.key -out ca.pem -days 1 -subj /CN=regrove-test-ca"))?;
    openssl(directory, &format!("req {key} -keyout server.key -out server.csr -subj /CN=localhost"))?;
    openssl(
        directory,
        "x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -extfile server.ext -days 1 -out server.pem",
    )
}

fn openssl(directory: &Path, arguments: &str) -> Result<()> {
    let output = Command::new("openssl")
        .args(arguments.split(' '))
        .current_dir(directory)
        .output()
        .context("openssl cannot be started; `cargo xtask test` installs it")?;
    ensure!(output.status.success(), "openssl {arguments}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}
