//! Which revisions every service has had: kept in the home folder, so that a later start can still run them.
//!
//! One file per service. A revision is never changed once it is recorded, but for the note that it became ready.

use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use regrove_knative::manifest::{RevisionChoice, Service};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Error;

/// Folder inside the home.
const FOLDER: &str = "revisions";
/// Revisions kept per service beside those that traffic names, as `min-non-active-revisions` of Knative.
const REVISIONS_KEPT: usize = 20;

/// One revision as it was made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Recorded {
    pub(crate) name: String,
    pub(crate) generation: u32,
    /// Whether a replica of it ever became ready. Traffic moves to no revision before.
    pub(crate) ready: bool,
    /// `spec.template` as it was written.
    pub(crate) template: Value,
}

/// The revisions of one service, the latest last.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct Lineage {
    pub(crate) revisions: Vec<Recorded>,
}

impl Lineage {
    pub(crate) fn latest(&self) -> Option<&Recorded> {
        self.revisions.last()
    }

    /// The latest revision that became ready.
    pub(crate) fn latest_ready(&self) -> Option<&Recorded> {
        self.revisions.iter().rev().find(|revision| revision.ready)
    }

    pub(crate) fn find(&self, name: &str) -> Option<&Recorded> {
        self.revisions.iter().find(|revision| revision.name == name)
    }

    pub(crate) fn mark_ready(&mut self, name: &str) {
        if let Some(revision) = self.revisions.iter_mut().find(|revision| revision.name == name) {
            revision.ready = true;
        }
    }

    /// The lineage with the service's template as its latest revision: the same one if the template is the same.
    ///
    /// # Errors
    /// The template gives itself a name that another template has.
    pub(crate) fn with(&self, service: &Service) -> Result<Self, String> {
        let template = &service.template.document;
        if self.latest().is_some_and(|latest| latest.template == *template) {
            return Ok(self.clone());
        }
        let mut next = self.clone();
        let generation = self.latest().map_or(0, |latest| latest.generation) + 1;
        let name = service.revision_name(generation);
        let mut ready = false;
        if let Some(at) = next.revisions.iter().position(|revision| revision.name == name) {
            let taken = next.revisions.remove(at);
            if taken.template != *template {
                return Err(format!(
                    "spec.template.metadata.name: {name} is the name of an earlier revision with another template; \
                     choose another name, or leave it out"
                ));
            }
            ready = taken.ready;
        }
        next.revisions.push(Recorded { name, generation, ready, template: template.clone() });
        next.forget_oldest(service);
        Ok(next)
    }

    fn forget_oldest(&mut self, service: &Service) {
        let named = |name: &str| {
            service
                .traffic
                .iter()
                .any(|target| matches!(&target.revision, RevisionChoice::Named(wanted) if wanted == name))
        };
        let ready = self.latest_ready().map(|revision| revision.name.clone());
        let mut excess = self.revisions.len().saturating_sub(REVISIONS_KEPT);
        self.revisions.retain(|revision| {
            let goes = excess > 0 && !named(&revision.name) && ready.as_ref() != Some(&revision.name);
            excess -= usize::from(goes);
            !goes
        });
    }
}

/// The files.
#[derive(Debug)]
pub(crate) struct History {
    folder: PathBuf,
    /// Held from reading a file to writing it.
    changing: Mutex<()>,
}

impl History {
    pub(crate) fn new(home: &std::path::Path) -> Self {
        Self { folder: home.join(FOLDER), changing: Mutex::default() }
    }

    /// Namespaces and services have no dots in their names.
    fn file(&self, namespace: &str, service: &str) -> PathBuf {
        self.folder.join(format!("{namespace}.{service}.json"))
    }

    /// The revisions of a service, none if it is new.
    pub(crate) fn read(&self, namespace: &str, service: &str) -> Result<Lineage, Error> {
        let file = self.file(namespace, service);
        let failed = |source: io::Error| Error::History { file: file.clone(), source };
        match fs::read(&file) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| failed(error.into())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Lineage::default()),
            Err(error) => Err(failed(error)),
        }
    }

    /// Keeps the revisions of a service. Those that became ready in the meantime stay so.
    pub(crate) fn record(&self, namespace: &str, service: &str, lineage: &Lineage) -> Result<(), Error> {
        let _alone = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut next = lineage.clone();
        for ready in self.read(namespace, service)?.revisions.iter().filter(|revision| revision.ready) {
            next.mark_ready(&ready.name);
        }
        self.write(namespace, service, &next)
    }

    /// Notes that a revision became ready, and returns all of them.
    pub(crate) fn record_ready(&self, namespace: &str, service: &str, revision: &str) -> Result<Lineage, Error> {
        let _alone = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut lineage = self.read(namespace, service)?;
        lineage.mark_ready(revision);
        self.write(namespace, service, &lineage)?;
        Ok(lineage)
    }

    /// A reader sees the old revisions or the new ones, never a part.
    fn write(&self, namespace: &str, service: &str, lineage: &Lineage) -> Result<(), Error> {
        let file = self.file(namespace, service);
        let write = || -> io::Result<()> {
            fs::create_dir_all(&self.folder)?;
            let unfinished = file.with_extension("new");
            let mut out = fs::File::create(&unfinished)?;
            out.write_all(&serde_json::to_vec(lineage)?)?;
            out.sync_data()?;
            fs::rename(&unfinished, &file)
        };
        write().map_err(|source| Error::History { file: file.clone(), source })
    }
}

#[cfg(test)]
mod tests {
    use regrove_knative::manifest::{Application, Source};

    use super::*;

    fn service(name: Option<&str>, value: &str, traffic: &str) -> Service {
        let name = name.map(|name| format!("    metadata: {{name: {name}}}\n")).unwrap_or_default();
        let text = format!(
            "apiVersion: serving.knative.dev/v1\nkind: Service\nmetadata: {{name: hello}}\nspec:\n{traffic}  template:\n{name}    \
             spec:\n      containers: [{{image: hello, env: [{{name: A, value: {value}}}]}}]\n"
        );
        Application::parse(&[Source { name: "a", text: &text }]).unwrap().services.remove(0)
    }

    fn names(lineage: &Lineage) -> Vec<&str> {
        lineage.revisions.iter().map(|revision| revision.name.as_str()).collect()
    }

    #[test]
    fn every_change_of_the_template_is_a_revision() {
        let mut lineage = Lineage::default();
        for value in ["one", "one", "two", "one"] {
            lineage = lineage.with(&service(None, value, "")).unwrap();
        }
        assert_eq!(names(&lineage), ["hello-00001", "hello-00002", "hello-00003"]);
        assert_eq!(lineage.revisions[0].template, lineage.revisions[2].template);
        assert!(!lineage.revisions[2].ready, "the same template has to prove itself again");
    }

    #[test]
    fn a_name_belongs_to_one_template() {
        let first = Lineage::default().with(&service(Some("hello-a"), "one", "")).unwrap();
        let error = first.with(&service(Some("hello-a"), "two", "")).unwrap_err();
        assert!(error.contains("hello-a is the name of an earlier revision"), "{error}");
        let mut second = first.with(&service(Some("hello-b"), "two", "")).unwrap();
        second.mark_ready("hello-a");
        let back = second.with(&service(Some("hello-a"), "one", "")).unwrap();
        assert_eq!(names(&back), ["hello-b", "hello-a"]);
        assert_eq!(back.latest_ready().unwrap().name, "hello-a");
    }

    #[test]
    fn old_revisions_are_forgotten_unless_traffic_needs_them() {
        let traffic = "  traffic: [{revisionName: hello-00002, percent: 100}]\n";
        let mut lineage = Lineage::default();
        for number in 0..REVISIONS_KEPT + 5 {
            lineage = lineage.with(&service(None, &format!("v{number}"), traffic)).unwrap();
            lineage.mark_ready("hello-00003");
        }
        let names = names(&lineage);
        assert_eq!(names.len(), REVISIONS_KEPT);
        assert_eq!(names[..3], ["hello-00002", "hello-00003", "hello-00008"]);
    }

    #[test]
    fn files_are_read_back_and_a_broken_one_is_named() {
        let home = tempfile::tempdir().unwrap();
        let history = History::new(home.path());
        let lineage = Lineage::default().with(&service(None, "one", "")).unwrap();
        assert_eq!(history.read("default", "hello").unwrap(), Lineage::default());
        history.record("default", "hello", &lineage).unwrap();
        assert_eq!(history.read("default", "hello").unwrap(), lineage);
        let ready = history.record_ready("default", "hello", "hello-00001").unwrap();
        assert!(ready.revisions[0].ready);
        history.record("default", "hello", &lineage).unwrap();
        assert_eq!(history.read("default", "hello").unwrap(), ready, "readiness is not forgotten");
        fs::write(home.path().join("revisions/default.hello.json"), "{").unwrap();
        let error = history.read("default", "hello").unwrap_err().to_string();
        assert!(error.contains("default.hello.json"), "{error}");
    }
}
