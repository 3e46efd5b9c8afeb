//! Each event type: an event of yesterday is still read, and its JSON Schema says what the code says.

use std::fs;
use std::path::{Path, PathBuf};

use regrove_events::{CloudEvent, Event, SCHEMAS, TYPE_PREFIX, Unreadable, json_format};
use serde_json::{Map, Value, json};

type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error>>;

/// An event type: its name, its schema, and the event of `testdata/`.
struct Golden {
    name: &'static str,
    schema: jsonschema::Validator,
    event: CloudEvent,
    data: Value,
}

fn goldens() -> Result<Vec<Golden>> {
    let mut goldens = Vec::new();
    for (name, schema) in SCHEMAS {
        let files = files_of(name)?;
        assert!(files.iter().any(|file| file == &format!("{name}.v1.json")), "{name}: {files:?}");
        for file in files {
            let event = json_format::from_slice(&fs::read(testdata().join(file))?)?;
            let data = serde_json::from_slice(event.data().ok_or("no data")?)?;
            let schema = jsonschema::validator_for(&serde_json::from_str(schema)?)?;
            goldens.push(Golden { name, schema, event, data });
        }
    }
    Ok(goldens)
}

fn testdata() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata")
}

/// The event as it was first written, and one for each optional field that was added since: `NAME.v1+FIELD.json`.
fn files_of(name: &str) -> Result<Vec<String>> {
    let mut files = Vec::new();
    for file in fs::read_dir(testdata())? {
        let file = file?.file_name().to_string_lossy().into_owned();
        if file.strip_prefix(name).is_some_and(|rest| rest == ".v1.json" || rest.starts_with(".v1+")) {
            files.push(file);
        }
    }
    Ok(files)
}

impl Golden {
    /// The same event with other data.
    fn with(&self, data: &Value) -> Result<CloudEvent> {
        let builder = CloudEvent::builder(self.event.id(), self.event.source(), self.event.ty());
        Ok(builder.data("application/json", serde_json::to_vec(data)?).build()?)
    }
}

/// Equal but for the way a number is written: `75` is `75.0`.
fn same(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Number(left), Value::Number(right)) => {
            left == right || left.as_f64().zip(right.as_f64()).is_some_and(|(l, r)| l.total_cmp(&r).is_eq())
        }
        (Value::Array(left), Value::Array(right)) => {
            left.len() == right.len() && left.iter().zip(right).all(|(left, right)| same(left, right))
        }
        (Value::Object(left), Value::Object(right)) => {
            left.len() == right.len()
                && left.iter().all(|(name, value)| right.get(name).is_some_and(|other| same(value, other)))
        }
        _ => left == right,
    }
}

#[test]
fn golden_events_are_read_and_written_again() -> Result {
    for golden in goldens()? {
        assert_eq!(golden.event.ty(), format!("{TYPE_PREFIX}{}", golden.name));
        let event = Event::read(&golden.event)?;
        assert_eq!(event.name(), golden.name);
        let at = golden.event.time().ok_or("no time")?;
        let again = event.first(golden.event.id(), golden.event.source(), golden.event.subject().unwrap_or(""), at)?;
        let written: Value = serde_json::from_slice(again.data().ok_or("no data")?)?;
        assert!(same(&written, &golden.data), "{}: {written}", golden.name);
        assert_eq!(again.data_schema(), golden.event.data_schema());
        assert!(golden.schema.is_valid(&written), "{}", golden.name);
        assert_eq!(Event::read(&again)?, event);
    }
    Ok(())
}

#[test]
fn schemas_describe_the_golden_events() -> Result {
    for golden in goldens()? {
        let errors: Vec<String> = golden.schema.iter_errors(&golden.data).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{}: {errors:?}", golden.name);
    }
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas");
    let mut files: Vec<String> = fs::read_dir(directory)?
        .map(|file| Ok(file?.file_name().to_string_lossy().replace(".v1.json", "")))
        .collect::<std::io::Result<_>>()?;
    let mut names = SCHEMAS.map(|(name, _)| name.to_owned()).to_vec();
    files.sort();
    names.sort();
    assert_eq!(files, names, "each schema file is one of SCHEMAS");
    for (name, schema) in SCHEMAS {
        let schema: Value = serde_json::from_str(schema)?;
        assert_eq!(schema["$id"], format!("urn:regrove:schema:{name}:v1"));
        assert_eq!(schema["title"], name);
    }
    Ok(())
}

/// Every value in the tree, changed by `change`, one at a time.
fn variants(value: &Value, change: &impl Fn(&Value) -> Vec<Value>) -> Vec<Value> {
    let mut all = change(value);
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                for other in variants(member, change) {
                    let mut members = members.clone();
                    members.insert(name.clone(), other);
                    all.push(Value::Object(members));
                }
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                for other in variants(item, change) {
                    let mut items = items.clone();
                    items[index] = other;
                    all.push(Value::Array(items));
                }
            }
        }
        _ => {}
    }
    all
}

/// One member less, at any depth: schema and code agree on what is required.
#[test]
fn schemas_and_code_require_the_same_fields() -> Result {
    for golden in goldens()? {
        let shorter = variants(&golden.data, &|value| match value {
            Value::Object(members) => members
                .keys()
                .map(|name| {
                    let others = members.iter().filter(|(other, _)| *other != name);
                    Value::Object(others.map(|(name, value)| (name.clone(), value.clone())).collect::<Map<_, _>>())
                })
                .collect(),
            _ => vec![],
        });
        for data in shorter {
            let read = Event::read(&golden.with(&data)?);
            assert_eq!(read.is_ok(), golden.schema.is_valid(&data), "{}: {data}: {read:?}", golden.name);
        }
    }
    Ok(())
}

/// One member more, where the schema knows all of them: both refuse it.
#[test]
fn schemas_and_code_refuse_the_same_unknown_fields() -> Result {
    for golden in goldens()? {
        let longer = variants(&golden.data, &|value| match value {
            Value::Object(members) => {
                let mut members = members.clone();
                members.insert("surprise".to_owned(), json!(1));
                vec![Value::Object(members)]
            }
            _ => vec![],
        });
        assert!(!longer.is_empty());
        for data in longer {
            let read = Event::read(&golden.with(&data)?);
            assert_eq!(read.is_ok(), golden.schema.is_valid(&data), "{}: {data}: {read:?}", golden.name);
        }
    }
    Ok(())
}

/// Whatever a schema accepts can be read; what cannot be read is named.
#[test]
fn what_a_schema_accepts_is_read() -> Result {
    let strange = [json!(null), json!(true), json!(-1), json!(0.5), json!(""), json!("x"), json!([]), json!({})];
    for golden in goldens()? {
        for data in variants(&golden.data, &|_| strange.to_vec()) {
            match Event::read(&golden.with(&data)?) {
                Ok(_) => {}
                Err(Unreadable::Data { ty, misfit }) => {
                    assert_eq!(ty, golden.event.ty());
                    assert!(!golden.schema.is_valid(&data), "{}: {data}: {misfit}", golden.name);
                }
                Err(other) => return Err(other.into()),
            }
        }
    }
    Ok(())
}

#[test]
fn unreadable_events_name_the_field() -> Result {
    let builder = || CloudEvent::builder("1", "/s", "io.regrove.shard-trained");
    let reason = |event: CloudEvent| Event::read(&event).err().map(|error| error.to_string()).unwrap_or_default();
    assert!(reason(builder().build()?).contains("there is none"));
    assert!(reason(builder().data("text/plain", "{}").build()?).contains("application/json"));
    let broken = r#"{"shard":0,"of":1,"trees":{"from":0,"to":"two"}}"#;
    assert!(reason(builder().data("application/json", broken).build()?).contains("`trees.to`"));
    assert!(reason(builder().data("application/json", "{").build()?).contains("EOF"));
    let trailing = r#"{"reason":"a"} and more"#;
    let cancelled =
        CloudEvent::builder("1", "/s", "io.regrove.job-cancelled").data("application/json", trailing).build()?;
    assert!(Event::read(&cancelled).is_err(), "what follows the data is not ignored");
    for ty in ["io.regrove.unheard-of", "com.example.shard-trained", "shard-trained"] {
        let error = Event::read(&CloudEvent::builder("1", "/s", ty).build()?);
        assert!(matches!(&error, Err(Unreadable::UnknownType(known)) if known == ty), "{error:?}");
    }
    Ok(())
}

#[test]
fn subjects_name_jobs() -> Result {
    let of = |subject: &str| -> Result<bool> {
        let event = CloudEvent::builder("1", "/s", "t").subject(subject).build()?;
        Ok(regrove_events::event::subject(&event).is_ok())
    };
    for good in ["a", "reference-1", "0", "A.b_c-d", &"x".repeat(128)] {
        assert!(of(good)?, "{good}");
    }
    for bad in ["-a", ".a", "a/b", "a b", "ü", "a:b", &"x".repeat(129)] {
        assert!(!of(bad)?, "{bad}");
    }
    let none = CloudEvent::builder("1", "/s", "t").build()?;
    assert!(matches!(regrove_events::event::subject(&none), Err(Unreadable::NoSubject { .. })));
    Ok(())
}
