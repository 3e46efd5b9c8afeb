//! Results go next to what they are about, or nowhere.

use regrove_data::{Error, Format, Location, Policy, publish};

use crate::Folder;

fn location(folder: &Folder, name: &str) -> Location {
    Location::parse(&format!("file://{}/{name}", folder.dir.path().display())).unwrap()
}

fn names(folder: &Folder) -> Vec<String> {
    let mut names: Vec<String> =
        folder.dir.path().read_dir().unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort_unstable();
    names
}

#[tokio::test]
async fn a_file_is_put_in_its_place_whole_and_replaces_what_was_there() {
    let (folder, spool) = (Folder::new(), Folder::new());
    let to = location(&folder, "the%20rows.csv").beside("x", Format::Csv).unwrap();
    let policy = Policy::for_events(None, Some(folder.dir.path())).unwrap();
    for content in ["first", "second, longer"] {
        let file = spool.write("made", content);
        publish(&file, &to, &policy).await.unwrap();
        assert_eq!(std::fs::read_to_string(folder.dir.path().join("the rows.x.csv")).unwrap(), content);
        assert_eq!(names(&folder), ["the rows.x.csv"], "nothing else");
        assert!(file.exists(), "the spool's file is its owner's");
    }
    let mode = |path: &std::path::Path| path.metadata().unwrap().permissions();
    let usual = spool.write("usual", "");
    assert_eq!(mode(&folder.dir.path().join("the rows.x.csv")), mode(&usual), "as any file that a program writes");
}

#[tokio::test]
async fn what_may_not_or_cannot_be_written_is_told_apart() {
    let (folder, elsewhere, spool) = (Folder::new(), Folder::new(), Folder::new());
    let file = spool.write("made", "x");
    let policy = Policy::for_events(Some("http://127.0.0.1:1"), Some(folder.dir.path())).unwrap();
    let refused = async |to: Location| publish(&file, &to, &policy).await.unwrap_err();
    let outside = refused(location(&elsewhere, "rows.csv")).await;
    assert!(matches!(outside, Error::NotAllowed { .. }), "{outside}");
    let missing = refused(location(&folder, "no/such/folder/rows.csv")).await;
    assert_eq!((missing.kind(), missing.is_retryable()), ("dataset-not-writable", false), "{missing}");
    let web = refused(Location::parse("http://127.0.0.1:1/rows.csv").unwrap()).await;
    assert_eq!((web.kind(), web.is_retryable()), ("dataset-not-writable", false), "{web}");
    let bucket = refused(Location::parse("s3://bucket/rows.csv").unwrap()).await;
    assert!(matches!(bucket, Error::NotAllowed { .. }), "{bucket}");
    // A link that leads out of the folder is followed before it is judged.
    std::os::unix::fs::symlink(elsewhere.dir.path(), folder.dir.path().join("link")).unwrap();
    let led_out = refused(location(&folder, "link/rows.csv")).await;
    assert!(matches!(led_out, Error::NotAllowed { .. }), "{led_out}");
    assert_eq!(names(&elsewhere), [""; 0]);
}
