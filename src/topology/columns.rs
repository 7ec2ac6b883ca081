//! Which column of a table holds what, as its header says.
//!
//! Not here: the values (`parse`).

use super::error::quoted;

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Column {
    M,
    N,
    K,
    InputHeight,
    InputWidth,
    FilterHeight,
    FilterWidth,
    Channels,
    Filters,
    Stride,
    StrideHeight,
    StrideWidth,
    Padding,
    Groups,
    Repeat,
    Weights,
}

impl Column {
    /// Every column with the names that it goes by in the wild, the first for messages. Case, spaces and punctuation do not count.
    const NAMES: [(Self, &'static [&'static str]); 16] = [
        (Self::M, &["M"]),
        (Self::N, &["N"]),
        (Self::K, &["K"]),
        (Self::InputHeight, &["IFMAP Height", "ifmap h", "input height"]),
        (Self::InputWidth, &["IFMAP Width", "ifmap w", "input width"]),
        (Self::FilterHeight, &["Filter Height", "filter h"]),
        (Self::FilterWidth, &["Filter Width", "filter w"]),
        (Self::Channels, &["Channels", "channel", "num channels"]),
        (Self::Filters, &["Num Filter", "num filters", "filters"]),
        (Self::Stride, &["Strides", "stride"]),
        (Self::StrideHeight, &["Stride height", "stride h"]),
        (Self::StrideWidth, &["Stride width", "stride w"]),
        (Self::Padding, &["Padding", "pad"]),
        (Self::Groups, &["Groups", "group"]),
        (Self::Repeat, &["Repeat", "repeats"]),
        (Self::Weights, &["Weights"]),
    ];

    /// The name in messages.
    pub(super) fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(column, _)| *column == self).map_or("", |(_, names)| names[0])
    }

    fn from_name(name: &str) -> Option<Self> {
        let bare = bare(name);
        Self::NAMES.iter().find(|(_, names)| names.iter().any(|known| self::bare(known) == bare)).map(|(column, _)| *column)
    }
}

/// A name's letters and digits, in lower case.
pub(super) fn bare(name: &str) -> String {
    name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect()
}

/// Columns of a matrix product.
pub(super) const PRODUCT: [Column; 3] = [Column::M, Column::N, Column::K];
/// Columns of a convolution, its strides apart.
pub(super) const CONVOLUTION: [Column; 6] =
    [Column::InputHeight, Column::InputWidth, Column::FilterHeight, Column::FilterWidth, Column::Channels, Column::Filters];

/// What a table's rows are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Matrix products.
    Products,
    /// Convolutions; the columns of the strides down and across, which may be the same one.
    Convolutions { strides: [Column; 2] },
}

/// A header, understood.
#[derive(Debug)]
pub(super) struct Header {
    pub(super) kind: Kind,
    /// What each column is called, by its index.
    pub(super) names: Vec<String>,
    /// What each column holds; the first holds the layer's name.
    columns: Vec<Option<Column>>,
}

impl Header {
    /// Understands a header, or tells what is wrong with it.
    pub(super) fn read<'a>(fields: impl Iterator<Item = &'a str>) -> Result<Self, String> {
        let names: Vec<String> = fields.map(str::to_owned).collect();
        let columns: Vec<Option<Column>> = names.iter().map(|name| Column::from_name(name)).collect();
        let has = |column| columns.contains(&Some(column));
        let lacking = |wanted: &[Column]| {
            let missing: Vec<&str> = wanted.iter().filter(|column| !has(**column)).map(|column| column.name()).collect();
            missing.join(", ")
        };
        if let Some(twice) = (1..columns.len()).find(|&at| columns[at].is_some() && columns[..at].contains(&columns[at])) {
            return Err(format!("the header names the column {} twice", quoted(&names[twice])));
        }
        let is_product = PRODUCT.into_iter().any(has);
        let is_convolution = CONVOLUTION.into_iter().any(has);
        if is_product && has(Column::Padding) {
            return Err(format!(
                "the header names the column {} of a convolution, and columns of a matrix product",
                Column::Padding.name()
            ));
        }
        let kind = match (is_product, is_convolution) {
            (true, true) => return Err("the header names columns of a convolution and of a matrix product".to_owned()),
            (false, false) => {
                let names: Vec<&str> = names.iter().map(String::as_str).filter(|name| !name.is_empty()).collect();
                return Err(format!("the first line is no header of a layer table: {}", quoted(&names.join(", "))));
            }
            (true, false) => Kind::Products,
            (false, true) if has(Column::Stride) => Kind::Convolutions { strides: [Column::Stride; 2] },
            (false, true) if has(Column::StrideHeight) || has(Column::StrideWidth) => {
                Kind::Convolutions { strides: [Column::StrideHeight, Column::StrideWidth] }
            }
            (false, true) => Kind::Convolutions { strides: [Column::Stride; 2] },
        };
        let missing = match kind {
            Kind::Products => lacking(&PRODUCT),
            Kind::Convolutions { strides: [one, other] } if one == other => lacking(&[&CONVOLUTION[..], &[one]].concat()),
            Kind::Convolutions { strides } => lacking(&[&CONVOLUTION[..], &strides].concat()),
        };
        if !missing.is_empty() {
            return Err(format!("the header lacks the columns: {missing}"));
        }
        if columns.first().is_some_and(Option::is_some) {
            return Err(format!("the first column is {}, and must be the layer's name", quoted(&names[0])));
        }
        Ok(Self { kind, names, columns })
    }

    /// Whether there is this column.
    pub(super) fn has(&self, column: Column) -> bool {
        self.index(column).is_some()
    }

    /// The index of a column.
    pub(super) fn index(&self, column: Column) -> Option<usize> {
        self.columns.iter().position(|found| *found == Some(column))
    }

    /// Whether the values of this column are used.
    pub(super) fn is_used(&self, index: usize) -> bool {
        index == 0 || self.columns.get(index).is_some_and(Option::is_some)
    }

    /// What this column is called, where the header names it.
    pub(super) fn name(&self, index: usize) -> Option<&str> {
        self.names.get(index).map(String::as_str).filter(|name| !name.is_empty())
    }
}
