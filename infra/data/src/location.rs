//! What a data set's URI names.

use std::path::PathBuf;

use url::Url;

use crate::{Error, Format};

/// Endings of files that are compressed as a whole.
const COMPRESSED: [&str; 2] = [".gz", ".zst"];
/// Endings of files that say what is in them.
const ENDINGS: [&str; 3] = [".csv", ".parquet", ".tsv"];

/// How a data set is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// A file of this machine.
    File,
    /// A web server.
    Http,
    /// S3, Google Cloud Storage or Azure Blob Storage, with the credentials of the environment.
    Bucket,
}

/// Where a data set lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Location {
    url: Url,
    scheme: Scheme,
}

impl Location {
    /// Reads a URI.
    ///
    /// # Errors
    /// [`Error::Uri`] for what is none, a scheme that is not supported, a password in the URI.
    pub fn parse(uri: &str) -> Result<Self, Error> {
        let wrong = |reason: String| Error::Uri { uri: uri.to_owned(), reason };
        let url = Url::parse(uri).map_err(|error| wrong(error.to_string()))?;
        let scheme = match url.scheme() {
            "file" => Scheme::File,
            "http" | "https" => Scheme::Http,
            "s3" | "s3a" | "gs" | "az" | "azure" | "abfs" | "abfss" => Scheme::Bucket,
            other => return Err(wrong(format!("scheme `{other}`"))),
        };
        if scheme != Scheme::File && url.host_str().is_none_or(str::is_empty) {
            return Err(wrong("it names no host or bucket".to_owned()));
        }
        // A URI stands in events, logs and MLflow: no place for a secret.
        if url.password().is_some() || (scheme == Scheme::Http && !url.username().is_empty()) {
            return Err(Error::Uri { uri: redacted(&url), reason: "a URI must not hold a password".to_owned() });
        }
        Ok(Self { url, scheme })
    }

    /// The file at a path, as a person names it.
    ///
    /// # Errors
    /// [`Error::Io`] when there is none.
    pub fn file(path: &std::path::Path) -> Result<Self, Error> {
        let path = path.canonicalize().map_err(|source| Error::io(path.display(), source))?;
        let url = Url::from_file_path(&path)
            .map_err(|()| Error::Uri { uri: path.display().to_string(), reason: "the path has no URI".to_owned() })?;
        Ok(Self { url, scheme: Scheme::File })
    }

    /// Whether the path's ending says that it is Parquet.
    pub(crate) fn names_parquet(&self) -> bool {
        self.url.path().to_ascii_lowercase().ends_with(".parquet")
    }

    /// A file next to this one: `rows.csv.gz` with the tag `x` becomes `rows.x.csv` or `rows.x.parquet`.
    ///
    /// # Errors
    /// [`Error::Uri`] when this is a folder.
    pub fn beside(&self, tag: &str, format: Format) -> Result<Self, Error> {
        // As it stands in the URI: what was encoded stays so.
        let (folder, name) = self.url.path().rsplit_once('/').unwrap_or_default();
        if name.is_empty() {
            let reason = "it names a folder, not a file".to_owned();
            return Err(Error::Uri { uri: self.url.to_string(), reason });
        }
        let mut stem = name;
        for ending in COMPRESSED.iter().chain(&ENDINGS) {
            stem = stem.strip_suffix(ending).filter(|rest| !rest.is_empty()).unwrap_or(stem);
        }
        let extension = match format {
            Format::Csv => "csv",
            Format::Parquet => "parquet",
        };
        let mut url = self.url.clone();
        url.set_path(&format!("{folder}/{stem}.{tag}.{extension}"));
        url.set_query(None);
        url.set_fragment(None);
        Ok(Self { url, scheme: self.scheme })
    }

    /// The URI.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// How it is reached.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The path of a file.
    ///
    /// # Errors
    /// [`Error::Uri`] for what is no file of this machine.
    pub fn path(&self) -> Result<PathBuf, Error> {
        self.url.to_file_path().map_err(|()| Error::Uri {
            uri: self.url.to_string(),
            reason: "the path is not absolute or names another host".to_owned(),
        })
    }
}

fn redacted(url: &Url) -> String {
    format!("{}://…@{}{}", url.scheme(), url.host_str().unwrap_or_default(), url.path())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_beside_has_the_name_the_tag_and_the_ending_of_what_is_in_it() {
        for (uri, format, beside) in [
            ("file:///data/rows.csv", Format::Csv, "file:///data/rows.x.csv"),
            ("file:///data/more%20rows.v2.csv.gz", Format::Csv, "file:///data/more%20rows.v2.x.csv"),
            ("s3://bucket/rows", Format::Parquet, "s3://bucket/rows.x.parquet"),
            ("s3://bucket/a/b/rows.parquet?versionId=1", Format::Parquet, "s3://bucket/a/b/rows.x.parquet"),
            ("https://host/a/.csv", Format::Csv, "https://host/a/.csv.x.csv"),
        ] {
            assert_eq!(Location::parse(uri).unwrap().beside("x", format).unwrap().url().as_str(), beside);
        }
        let folder = Location::parse("s3://bucket/rows/").unwrap().beside("x", Format::Csv).unwrap_err();
        assert!(folder.to_string().contains("names a folder"), "{folder}");
    }
}
