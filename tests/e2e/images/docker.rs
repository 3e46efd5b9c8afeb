//! Docker's daemon, and the client that talks to it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use regrove_test_support::programs::workspace;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::FUNCTIONS;
use super::pod::Pod;
use crate::operations::run;
use crate::polling::{DEADLINE, until_blocking};

/// What the images say that they were built from.
pub(super) const REVISION: &str = "of-the-test";
/// Seconds that one call of Docker may take.
const ANSWERS_WITHIN: &str = "120";
/// Seconds that a function may take to end.
const STOPPED_WITHIN: &str = "30";

pub(super) struct Docker {
    daemon: Child,
    folder: PathBuf,
    context: PathBuf,
}

impl Docker {
    /// Starts a daemon without a bridge. What is built in it has the Dockerfile and the images' roots, and no more.
    pub(super) fn start(images: &Path, folder: &Path) -> Self {
        let context = folder.join("context");
        fs::create_dir_all(context.join("target")).unwrap();
        for name in ["Dockerfile", ".dockerignore"] {
            fs::copy(workspace().join(name), context.join(name)).unwrap();
        }
        run(Command::new("cp").arg("-a").arg(images).arg(context.join("target/image")));
        let log = fs::File::create(folder.join("dockerd.log")).unwrap();
        let daemon = Command::new("/usr/sbin/dockerd")
            .args(["--bridge", "none", "--iptables=false", "--ip6tables=false"])
            .arg("--host")
            .arg(format!("unix://{}", folder.join("sock").display()))
            .arg("--data-root")
            .arg(folder.join("data"))
            .arg("--exec-root")
            .arg(folder.join("exec"))
            .arg("--pidfile")
            .arg(folder.join("pid"))
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .expect("`cargo xtask test` installs Docker");
        let docker = Self { daemon, folder: folder.to_owned(), context };
        let answers = || docker.client(&["version"]).output().unwrap().status.success().then_some(());
        if let Err(error) = until_blocking(DEADLINE, answers) {
            let said = fs::read_to_string(docker.folder.join("dockerd.log")).unwrap();
            panic!("dockerd does not answer: {error}\n{said}");
        }
        docker
    }

    /// Debian's client, which knows this daemon's `BuildKit`.
    fn client(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("timeout");
        command
            .args([ANSWERS_WITHIN, "/usr/bin/docker"])
            .args(arguments)
            .env("DOCKER_BUILDKIT", "1")
            .env("HOME", &self.folder);
        command.env("DOCKER_HOST", format!("unix://{}", self.folder.join("sock").display()));
        command.stdin(Stdio::null());
        command
    }

    #[track_caller]
    fn output(&self, arguments: &[&str]) -> String {
        run(&mut self.client(arguments))
    }

    /// Builds the image of a function, which is then called like it.
    pub(super) fn build(&self, name: &str, more: &[&str]) {
        let mut arguments = vec!["build", "--quiet", "--target", name, "--tag", name];
        let revision = format!("REVISION={REVISION}");
        arguments.extend(["--build-arg", "PROGRAMS=packed", "--build-arg", &revision]);
        arguments.extend(more);
        arguments.push(self.context.to_str().unwrap());
        self.output(&arguments);
    }

    /// All that is known of an image.
    pub(super) fn inspect(&self, image: &str) -> Value {
        let about: Value = serde_json::from_str(&self.output(&["image", "inspect", image])).unwrap();
        about[0].clone()
    }

    /// Regular files of an image.
    pub(super) fn files(&self, image: &str) -> BTreeSet<String> {
        let container = self.output(&["create", image]);
        let archive = self.folder.join("image.tar");
        self.output(&["export", "--output", archive.to_str().unwrap(), container.trim()]);
        self.output(&["rm", container.trim()]);
        let listing = run(Command::new("tar").arg("-tf").arg(&archive));
        // Docker mounts these into every container.
        let mounted =
            ["dev/", "proc/", "sys/", "etc/hosts", "etc/hostname", "etc/resolv.conf", "etc/mtab", ".dockerenv"];
        let own = |path: &&str| !path.ends_with('/') && !mounted.iter().any(|mount| path.starts_with(mount));
        listing.lines().filter(own).map(str::to_owned).collect()
    }

    /// Starts a function as its manifest says, on this port of the namespace, with those of the settings that it asks for.
    pub(super) fn run(&self, pod: &Pod, port: u16, settings: &BTreeMap<&str, String>) {
        let mut arguments: Vec<String> = ["run", "--detach", "--network", "host", "--name", &pod.name, "--env"]
            .map(str::to_owned)
            .into_iter()
            .chain([format!("PORT={port}")])
            .collect();
        for (name, value) in &pod.environment {
            let value = value.as_ref().or_else(|| settings.get(name.as_str()));
            arguments.extend(value.iter().flat_map(|value| ["--env".to_owned(), format!("{name}={value}")]));
        }
        arguments.extend(pod.confinement.clone());
        arguments.push(pod.name.clone());
        self.output(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
    }

    /// The process is nobody's, can do nothing that needs a privilege, cannot come to any, and can write nowhere in its root.
    pub(super) fn is_confined(&self, name: &str) {
        let pid = self.output(&["inspect", "--format", "{{.State.Pid}}", name]);
        let process = PathBuf::from("/proc").join(pid.trim());
        let status = fs::read_to_string(process.join("status")).unwrap();
        let field = |field: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(&format!("{field}:"))).unwrap();
            line.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!((field("Uid"), field("Gid")), (vec!["65532".to_owned(); 4], vec!["65532".to_owned(); 4]), "{name}");
        for set in ["CapEff", "CapPrm", "CapBnd"] {
            assert_eq!(field(set), ["0000000000000000"], "{name} {set}");
        }
        // 2: a filter of system calls.
        assert_eq!((field("NoNewPrivs"), field("Seccomp")), (vec!["1".to_owned()], vec!["2".to_owned()]), "{name}");
        let mounts = fs::read_to_string(process.join("mounts")).unwrap();
        let root: Vec<_> = mounts.lines().find(|line| line.contains(" / ")).unwrap().split(' ').collect();
        assert!(root[3].split(',').any(|option| option == "ro"), "{name}: {root:?}");
    }

    /// SIGTERM ends it in good order: a process without a shell is the first of its container, and hears signals itself.
    pub(super) fn stops(&self, name: &str) {
        self.output(&["stop", "--time", STOPPED_WITHIN, name]);
        let code = self.output(&["inspect", "--format", "{{.State.ExitCode}} {{.State.OOMKilled}}", name]);
        assert_eq!(code.trim(), "0 false", "{name}\n{}", self.logs());
    }

    /// The last lines of all functions.
    pub(super) fn logs(&self) -> String {
        let one = |name: &&str| {
            let output = self.client(&["logs", "--tail", "20", name]).output().unwrap();
            let (said, error) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
            format!("{name}:\n{said}{error}")
        };
        FUNCTIONS.iter().map(one).collect()
    }
}

impl Drop for Docker {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.logs());
        }
        // Each step is worth trying although another one failed.
        for name in FUNCTIONS {
            drop(self.client(&["rm", "--force", name]).output());
        }
        kill_process(Pid::from_child(&self.daemon), Signal::TERM).unwrap_or_default();
        if until_blocking(DEADLINE, || self.daemon.try_wait().transpose()).is_err() {
            self.daemon.kill().unwrap_or_default();
            drop(self.daemon.wait());
        }
    }
}
