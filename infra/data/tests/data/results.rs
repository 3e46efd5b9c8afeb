//! What a model said is read back as it was said.

use std::collections::BTreeSet;

use regrove_data::{Format, ResultColumn, ResultWriter, survey};
use regrove_forest::Label;

use crate::{Folder, table};

#[test]
fn results_are_written_in_both_formats() {
    let folder = Folder::new();
    let names = ["label".to_owned(), "probability".to_owned()];
    for (format, name) in [(Format::Csv, "r.csv"), (Format::Parquet, "r.parquet")] {
        let path = folder.dir.path().join(name);
        let mut writer = ResultWriter::create(&path, format, &names).unwrap();
        for labels in [[Label::Bool(true), Label::Bool(false)], [Label::Bool(true), Label::Bool(true)]] {
            writer.write(&[ResultColumn::Labels(&labels), ResultColumn::Numbers(&[0.25, 0.5])]).unwrap();
        }
        let short = writer.write(&[ResultColumn::Numbers(&[1.0]), ResultColumn::Numbers(&[])]).unwrap_err();
        assert!(short.to_string().contains("[1, 0] rows for 2 names"), "{short}");
        writer.finish().unwrap();
        let table = table(&path).unwrap();
        assert_eq!((table.format(), table.names()), (format, &names[..]));
        let seen = survey(&table, &[0, 1], &BTreeSet::new(), &()).unwrap();
        assert_eq!(serde_json::to_string(&seen.columns[0].values).unwrap(), "[[false,1],[true,3]]");
        assert_eq!((seen.n_rows, seen.columns[1].mean), (4, Some(0.375)));
    }
}
