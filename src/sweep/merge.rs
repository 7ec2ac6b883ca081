//! Joins shards: folders of one experiment, of one version, whose points are put together in their order.

use super::SweepError;
use super::log::{EXPERIMENT, PROVENANCE, lock, pretty, write_results};
use crate::report::{PointRow, ResultFolder, SweepProvenance, SweepResults};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Joins the results in `folders` into `out`. Points that are missing still are so; a sweep into `out` runs them.
///
/// # Errors
/// Folders that cannot be read, or do not belong together; a folder that cannot be written.
pub fn merge(folders: &[PathBuf], out: &Path) -> Result<SweepResults, SweepError> {
    let mut joined: Option<(SweepProvenance, Vec<u8>)> = None;
    let mut points: BTreeMap<u64, PointRow> = BTreeMap::new();
    for folder in folders {
        let results = SweepResults::load(folder)?;
        let fault = |what: String| SweepError::Merge { path: folder.clone(), what };
        let experiment = fs::read(folder.join(EXPERIMENT)).map_err(|error| fault(format!("cannot read its {EXPERIMENT}: {error}")))?;
        let whole = SweepProvenance { shard: None, command: String::new(), ..results.provenance.clone() };
        match &joined {
            None => joined = Some((SweepProvenance { shard: None, ..results.provenance.clone() }, experiment)),
            Some((first, _)) if SweepProvenance { command: String::new(), ..first.clone() } != whole => {
                return Err(fault("it is of another experiment, version, chip or model than the first".to_owned()));
            }
            Some(_) => {}
        }
        for row in results.points {
            if let Some(other) = points.get(&row.point).filter(|other| **other != row) {
                return Err(fault(format!("its point {} is another than that of a folder before ({})", row.point, other.point_id)));
            }
            points.insert(row.point, row);
        }
    }
    let Some((provenance, experiment)) = joined else {
        return Err(SweepError::Merge { path: out.to_owned(), what: "there is nothing to merge".to_owned() });
    };
    let made = ResultFolder::prepare(out)?;
    let _lock = lock(out)?;
    if out.join("provenance.json").exists() && !folders.iter().any(|folder| is_same(folder, out)) {
        return Err(SweepError::Other { path: out.to_owned(), what: "a sweep already".to_owned() });
    }
    let json = pretty(&provenance);
    made.write_files(&[(EXPERIMENT, &experiment), (PROVENANCE, json.as_bytes())])?;
    let results = SweepResults::new(provenance, points.into_values().collect());
    write_results(&made, &results)?;
    Ok(results)
}

fn is_same(one: &Path, other: &Path) -> bool {
    matches!((one.canonicalize(), other.canonicalize()), (Ok(one), Ok(other)) if one == other)
}
