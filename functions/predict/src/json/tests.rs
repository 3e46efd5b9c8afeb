//! Against `serde_json` and the standard library.

use proptest::prelude::*;

use super::*;

fn number(text: &str) -> Option<f64> {
    let mut scanner = Scanner::new(text);
    let value = scanner.number().ok()?;
    scanner.end().ok().map(|()| value)
}

#[test]
fn numbers_are_those_of_json() {
    for good in ["0", "-0", "1", "-12.5", "0.1", "1e3", "1E-3", "1.5e+300", "123456789012345678901234567890"] {
        let expected: f64 = good.parse().unwrap();
        assert_eq!(number(good).map(f64::to_bits), Some(expected.to_bits()), "{good}");
    }
    for bad in ["", "-", "+1", ".5", "1.", "01", "1e", "1e+", "NaN", "Infinity", "0x1", "1_0", "--1", "1.2.3"] {
        assert_eq!(number(bad), None, "{bad}");
    }
    assert!(number("1e999").is_some_and(f64::is_infinite));
}

#[test]
fn what_is_no_json_is_refused_where_it_stops() {
    for bad in [
        "[1,]",
        "{\"a\":}",
        "{\"a\" 1}",
        "{a:1}",
        "[1 2]",
        "tru",
        "\"\u{1}\"",
        "[",
        "{",
        "\"abc",
        "{\"a\":1,}",
        "\"\\x\"",
    ] {
        let mut scanner = Scanner::new(bad);
        assert!(scanner.skip().and_then(|()| scanner.end()).is_err(), "{bad}");
    }
}

#[test]
fn a_name_twice_is_refused_among_few_and_many() {
    for count in [2, FEW_NAMES, FEW_NAMES + 1, 100] {
        let mut members: Vec<String> = (0..count).map(|at| format!("\"m{at}\": {at}")).collect();
        let text = |members: &[String]| format!("{{{}}}", members.join(", "));
        assert!(Scanner::new(&text(&members)).object(|scanner, _| scanner.skip()).is_ok());
        members.push("\"m1\": null".to_owned());
        let refused = Scanner::new(&text(&members)).object(|scanner, _| scanner.skip());
        assert!(matches!(&refused, Err(Stop::Duplicate { name, .. }) if name == "m1"), "{count}: {refused:?}");
        let ignored = format!("[{{\"deeper\": {}}}]", text(&members));
        let refused = Scanner::new(&ignored).skip();
        assert!(matches!(&refused, Err(Stop::Duplicate { name, .. }) if name == "m1"), "{count}: {refused:?}");
    }
    let escaped = r#"{"a": {"b": 1}, "c": {"b": 1}, "\u0061": 1}"#;
    assert!(matches!(Scanner::new(escaped).skip(), Err(Stop::Duplicate { at: 31, name }) if name == "a"));
}

#[test]
fn depth_is_bounded_without_recursion() {
    let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
    assert!(Scanner::new(&nested(DEPTH_MAX)).skip().is_ok());
    assert!(matches!(Scanner::new(&nested(10_000)).skip(), Err(Stop::TooDeep { .. })));
}

fn value() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<f64>().prop_filter_map("finite", |number| serde_json::Number::from_f64(number).map(Into::into)),
        any::<i64>().prop_map(Into::into),
        ".*".prop_map(Into::into),
    ];
    leaf.prop_recursive(4, 64, 8, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..8).prop_map(Into::into),
            prop::collection::btree_map(".*", inner, 0..8)
                .prop_map(|members| serde_json::Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    /// serde_json is the oracle.
    #[test]
    fn skips_exactly_one_value(value in value(), pretty: bool) {
        let text = if pretty { format!("{value:#}") } else { value.to_string() };
        let mut scanner = Scanner::new(&text);
        prop_assert!(scanner.skip().is_ok(), "{text}");
        prop_assert_eq!(scanner.position(), text.len());
    }

    #[test]
    fn whatever_comes_is_read_as_serde_json_reads_it_and_never_panics(text in "[-+0-9eE.\\[\\]{}:,\"\\\\a-u \n]{0,40}") {
        let mut scanner = Scanner::new(&text);
        let ours = scanner.skip().and_then(|()| scanner.end());
        let theirs = serde_json::from_str::<serde_json::Value>(&text);
        // It lets a name come twice.
        prop_assume!(!matches!(ours, Err(Stop::Duplicate { .. })));
        // It refuses numbers beyond float64; here they are infinite and refused by whoever wants a number.
        if !theirs.as_ref().is_err_and(|error| error.to_string().contains("out of range")) {
            prop_assert_eq!(ours.is_ok(), theirs.is_ok(), "{}: {:?} {:?}", text, ours, theirs);
        }
    }

    #[test]
    fn numbers_are_rounded_as_the_standard_library_rounds_them(mantissa: u64, places in 0..30_usize, exponent in -330..330_i32) {
        let digits = format!("{mantissa:0>width$}", width = places + 1);
        let (whole, fraction) = digits.split_at(digits.len() - places);
        let whole = if whole.trim_start_matches('0').is_empty() { "0" } else { whole.trim_start_matches('0') };
        let plain = if fraction.is_empty() { whole.to_owned() } else { format!("{whole}.{fraction}") };
        for text in [plain.clone(), format!("-{plain}"), format!("{plain}e{exponent}")] {
            let expected: f64 = text.parse().unwrap();
            prop_assert_eq!(number(&text).map(f64::to_bits), Some(expected.to_bits()), "{}", text);
        }
    }
}
