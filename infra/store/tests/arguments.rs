//! Arguments that name a store, and what they say when they cannot.

use anyhow::Result;
use clap::Parser;
use regrove_store::{Control, DEFAULT_HOME, OpenError, StoreArgs, StoreKind};

#[derive(Parser)]
struct Program {
    #[command(flatten)]
    store: StoreArgs,
}

fn open(url: &str) -> Result<Control, OpenError> {
    Control::open(&StoreArgs::redis(url, "unused"))
}

#[test]
fn nothing_is_touched_before_the_first_use() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let home = directory.path().join("state");
    let control = Control::embedded(&home);
    assert_eq!(control.kind(), StoreKind::Embedded);
    assert_eq!(control.place(), home.display().to_string());
    assert!(!home.exists());
    // No runtime, no server.
    let control = open("redis://nobody.invalid:1/0")?;
    assert_eq!((control.kind(), control.place()), (StoreKind::Redis, "redis://nobody.invalid:1/0"));
    Ok(())
}

#[test]
fn wrong_urls_are_named_without_their_password() {
    for url in [
        "http://user:s3cret@localhost:6379",
        "redis://user:s3cret@:6379",
        "redis://user:s3cret@localhost:port",
        "redis://user:s3cret@localhost/first",
        "rediss://user:s3cret@localhost#insecure",
        "user:s3cret@localhost:6379",
        "redis:/user:s3cret@localhost",
        "s3cret@",
        "redis://user:s3@cret@local host",
    ] {
        let error = open(url).map(|control| control.place().to_owned()).unwrap_err();
        let text = format!("{error} {error:?}");
        assert!(text.contains("REDIS_URL"), "{text}");
        assert!(!text.contains("cret"), "{url}: {text}");
    }
    let error = open("localhost:6379").unwrap_err();
    assert!(error.to_string().contains("`localhost:6379`"), "{error}");
}

#[test]
fn a_certificate_authority_must_be_usable() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("ca.pem");
    let args = |url: &str| StoreArgs { redis_ca: Some(file.clone()), ..StoreArgs::redis(url, "unused") };
    let error = Control::open(&args("rediss://localhost")).unwrap_err();
    assert!(matches!(&error, OpenError::Ca { path, .. } if *path == file), "{error}");
    std::fs::write(&file, "not a certificate")?;
    assert!(matches!(Control::open(&args("rediss://localhost")), Err(OpenError::Ca { .. })));
    let error = Control::open(&args("redis://localhost")).unwrap_err();
    assert!(error.to_string().contains("rediss://"), "{error}");
    Ok(())
}

#[test]
fn secrets_are_not_shown() {
    let args = StoreArgs {
        redis_username: Some("me".to_owned()),
        redis_password: Some("s3cret".to_owned()),
        ..StoreArgs::redis("redis://:s3cret@localhost", "home")
    };
    let text = format!("{args:?}");
    assert!(!text.contains("s3cret"), "{text}");
    assert!(text.contains("localhost") && text.contains("me"), "{text}");
}

#[test]
fn the_command_line_fills_them() {
    let none = Program::parse_from(["program"]).store;
    assert_eq!(none.home, std::path::Path::new(DEFAULT_HOME));
    let some =
        Program::parse_from(["program", "--redis-url", "redis://h", "--home", "/h", "--artifact-days", "3"]).store;
    assert_eq!((some.redis_url.as_deref(), some.artifact_days), (Some("redis://h"), 3));
    assert!(Program::try_parse_from(["program", "--artifact-days", "0"]).is_err());
    let blank = StoreArgs { redis_url: Some(String::new()), ..StoreArgs::default() };
    assert_eq!(Control::open(&blank).unwrap().kind(), StoreKind::Embedded, "an empty variable is none");
}
