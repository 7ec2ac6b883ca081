//! From text to layers: every row read, every fault kept with its line.
//!
//! Not here: files (`load`), and which column holds what (`columns`).

use super::columns::{Column, Header, Kind, PRODUCT, bare};
use super::error::quoted;
use super::{Convolution, Fault, Layer, Table, TopologyError};
use csv::StringRecord;
use std::ops::RangeInclusive;

/// The largest number of a table, and the largest dimension of a layer that follows from it, in elements: as much as a product can have.
pub const MAX_DIMENSION: u64 = 1 << 31;
/// The most layers of a table: more than any network has, and few enough to be held and reported.
pub const MAX_LAYERS: usize = 1 << 16;

/// The most products that a layer makes, groups times repeats: more than any has, and each of them is timed.
pub const MAX_RUNS: u64 = 1 << 16;

/// Faults that are looked for before the rest of the file is let be.
const MOST_FAULTS: usize = 100;

const HEADERS: &str = "`Layer name, IFMAP Height, IFMAP Width, Filter Height, Filter Width, Channels, Num Filter, Strides,` for convolutions \
                       or `Layer, M, N, K,` for matrix products";

const NO_PADDING: &str = "without a column Padding the input's size is that with its padding";

/// Reads a layer table; `name` is what messages call it, such as its path.
///
/// # Errors
/// If it has no header, no layer, more than [`MAX_LAYERS`], or a row at fault: all faults at once.
pub fn parse(text: &str, name: &str) -> Result<Table, TopologyError> {
    let mut reading = Reading { path: name, faults: Vec::new() };
    // Spreadsheets put a byte order mark before the header.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let (text, source) = without_comments(text);
    let table = reading.table(&text, source);
    match table {
        Some(table) if reading.faults.is_empty() => Ok(table),
        _ => Err(TopologyError::Faulty(reading.faults)),
    }
}

/// Where faults go while a table is read.
struct Reading<'a> {
    path: &'a str,
    faults: Vec<Fault>,
}

impl Reading<'_> {
    fn fault(&mut self, line: Option<u64>, what: impl Into<String>, allowed: impl Into<String>, help: impl Into<String>) {
        self.faults.push(Fault { path: self.path.to_owned(), line, what: what.into(), allowed: allowed.into(), help: help.into() });
    }

    /// The table; none where a fault says why.
    fn table(&mut self, text: &str, source: String) -> Option<Table> {
        let mut rows = csv::ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .trim(csv::Trim::All)
            .from_reader(text.as_bytes())
            .into_records()
            // The text is in memory and valid UTF-8, rows may be of any length: there is nothing left that could fail.
            .map_while(Result::ok)
            .map(|record| (line_of(&record, text), record))
            // Commas alone are as good as a blank line.
            .filter(|(_, record)| record.iter().any(|field| !field.is_empty()));
        let Some((line, first)) = rows.next() else {
            self.fault(None, "the file is empty", String::new(), format!("begin with a header: {HEADERS}"));
            return None;
        };
        let header = match Header::read(first.iter()) {
            Ok(header) => header,
            Err(what) => {
                self.fault(Some(line), what, String::new(), format!("write {HEADERS}"));
                return None;
            }
        };
        let mut table = Table { layers: Vec::new(), ignored: Vec::new(), source };
        for (line, record) in rows {
            if table.layers.len() == MAX_LAYERS {
                self.fault(Some(line), format!("there are more than {MAX_LAYERS} layers"), String::new(), "cut the table in several files");
                break;
            }
            // A row at fault must not keep the next ones from being judged.
            if let Some(layer) = self.row(&header, line, &record, &mut table.ignored) {
                table.layers.push(layer);
            }
            if self.faults.len() >= MOST_FAULTS {
                break;
            }
        }
        if table.layers.is_empty() && self.faults.is_empty() {
            self.fault(Some(line), "there is no layer below the header", String::new(), "add a row a layer");
        }
        Some(table)
    }

    fn row(&mut self, header: &Header, line: u64, record: &StringRecord, ignored: &mut Vec<String>) -> Option<Layer> {
        let faults = self.faults.len();
        let name = record.get(0).unwrap_or_default();
        if name.is_empty() {
            self.fault(Some(line), "the layer has no name", String::new(), "write a name into the first column");
        }
        // A name is printed, and a terminal takes some characters for commands.
        if name.chars().any(char::is_control) {
            let what = format!("the name {} has a control character or the end of a line in it", quoted(name));
            self.fault(Some(line), what, String::new(), "write a plain name, and close every quote on its line");
        }
        self.others(header, line, record, ignored);
        let [groups, repeat] = [Column::Groups, Column::Repeat]
            .map(|column| if header.has(column) { self.number(header, line, record, column) } else { Some(1) });
        let has_weights = if header.has(Column::Weights) {
            self.number_within(header, line, record, Column::Weights, 0..=1).map(|value| value == 1)
        } else {
            Some(true)
        };
        let sizes = match header.kind {
            Kind::Products => {
                let [m, n, k] = PRODUCT.map(|column| self.number(header, line, record, column));
                let (m, [k, n]) = (m?, self.shares(line, groups?, [(Column::K, k?), (Column::N, n?)])?);
                Some(([m, k, n], None))
            }
            Kind::Convolutions { strides } => self.convolution(header, line, record, strides, groups),
        };
        let (([m, k, n], convolution), groups, repeat, has_weights) = (sizes?, groups?, repeat?, has_weights?);
        if groups.saturating_mul(repeat) > MAX_RUNS {
            let what = format!("Groups * Repeat is {groups} * {repeat}, which is too much");
            self.fault(Some(line), what, format!("1 to {MAX_RUNS}"), "cut the layer in several");
        }
        (self.faults.len() == faults).then(|| Layer { name: name.to_owned(), m, k, n, groups, repeat, has_weights, convolution })
    }

    /// What a group has of these sizes of a whole layer.
    fn shares<const SIZES: usize>(&mut self, line: u64, groups: u64, sizes: [(Column, u64); SIZES]) -> Option<[u64; SIZES]> {
        let uneven: Vec<_> = sizes.iter().filter(|(_, size)| size % groups != 0).collect();
        for (column, size) in &uneven {
            let what = format!("Groups is {groups}, and {} is {size}, which so many groups cannot share evenly", column.name());
            let help = "give the sizes of the whole layer: a depthwise layer has as many groups as channels";
            self.fault(Some(line), what, format!("a divisor of {size}"), help);
        }
        uneven.is_empty().then(|| sizes.map(|(_, size)| size / groups))
    }

    /// A convolution's M, K and N in a group, and the group itself.
    fn convolution(
        &mut self,
        header: &Header,
        line: u64,
        record: &StringRecord,
        strides: [Column; 2],
        groups: Option<u64>,
    ) -> Option<([u64; 3], Option<Convolution>)> {
        let is_padded = header.has(Column::Padding);
        let padding = if is_padded { self.number_within(header, line, record, Column::Padding, 0..=MAX_DIMENSION) } else { Some(0) };
        let mut number = |column| self.number(header, line, record, column);
        let inputs = [Column::InputHeight, Column::InputWidth].map(&mut number);
        let filters = [Column::FilterHeight, Column::FilterWidth].map(&mut number);
        let [channels, n] = [Column::Channels, Column::Filters].map(&mut number);
        let strides = if strides[0] == strides[1] { [number(strides[0]); 2] } else { strides.map(&mut number) };
        let (channels, n, padding) = (channels?, n?, padding?);
        let [channels, n] = self.shares(line, groups?, [(Column::Channels, channels), (Column::Filters, n)])?;
        let mut outputs = [0; 2];
        for way in 0..2 {
            let (input, filter, stride) = (inputs[way]?, filters[way]?, strides[way]?);
            let (filter_name, input_name) = [(Column::FilterHeight, Column::InputHeight), (Column::FilterWidth, Column::InputWidth)][way];
            if padding >= filter {
                let what =
                    format!("Padding is {padding}, and {} is {filter}: there are places where the filter sees nothing", filter_name.name());
                self.fault(Some(line), what, format!("0 to {}", filter - 1), "give the rows of zeros on one side, not on both");
                return None;
            }
            let padded = input + 2 * padding;
            if filter > padded {
                let with = if is_padded { " with its padding" } else { "" };
                self.fault(
                    Some(line),
                    format!("{} is {filter}, more than {}{with}, which is {padded}", filter_name.name(), input_name.name()),
                    format!("1 to {padded}"),
                    if is_padded { "correct the filter, the input or Padding" } else { NO_PADDING },
                );
                return None;
            }
            let steps = padded - filter;
            // SCALE-Sim counts a last, partial step as one; whoever gives the padding apart counts as papers do.
            outputs[way] = 1 + if is_padded { steps / stride } else { steps.div_ceil(stride) };
        }
        let m = self.product(line, "M = ofmap height * ofmap width", &outputs)?;
        let k = self.product(line, "K = filter height * filter width * channels of a group", &[filters[0]?, filters[1]?, channels])?;
        let [input, filter, stride] = [[inputs[0]?, inputs[1]?], [filters[0]?, filters[1]?], [strides[0]?, strides[1]?]];
        Some(([m, k, n], Some(Convolution { input, filter, channels, stride, padding, output: outputs })))
    }

    /// A dimension that follows from several numbers.
    fn product(&mut self, line: u64, what: &str, factors: &[u64]) -> Option<u64> {
        let value = factors.iter().try_fold(1_u64, |product, factor| product.checked_mul(*factor)).filter(|value| *value <= MAX_DIMENSION);
        if value.is_none() {
            let factors: Vec<String> = factors.iter().map(ToString::to_string).collect();
            let what = format!("{what} is {}, which is too much", factors.join(" * "));
            self.fault(Some(line), what, format!("1 to {MAX_DIMENSION}"), "make the layer smaller, or cut it in several");
        }
        value
    }

    /// The number in a column, from 1.
    fn number(&mut self, header: &Header, line: u64, record: &StringRecord, column: Column) -> Option<u64> {
        self.number_within(header, line, record, column, 1..=MAX_DIMENSION)
    }

    /// The number in a column, within these limits.
    fn number_within(
        &mut self,
        header: &Header,
        line: u64,
        record: &StringRecord,
        column: Column,
        limits: RangeInclusive<u64>,
    ) -> Option<u64> {
        // A quote behind a space is no quote to the reader of CSV.
        let field = header.index(column).and_then(|index| record.get(index)).unwrap_or_default();
        let field = field.strip_prefix('"').and_then(|field| field.strip_suffix('"')).unwrap_or(field).trim();
        let name = column.name();
        let what = match field.parse::<u64>() {
            Ok(value) if limits.contains(&value) => return Some(value),
            Ok(value) => format!("{name} is {value}"),
            Err(_) if field.is_empty() => format!("{name} is missing"),
            Err(_) => format!("{name} is {}", quoted(field)),
        };
        let at = header.index(column).map_or(0, |index| index + 1);
        self.fault(
            Some(line),
            what,
            format!("a whole number, {} to {}", limits.start(), limits.end()),
            format!("correct column {at} of this line"),
        );
        None
    }

    /// Values in columns that hold nothing known: noted where the header names the column, else at fault.
    fn others(&mut self, header: &Header, line: u64, record: &StringRecord, ignored: &mut Vec<String>) {
        for (index, field) in record.iter().enumerate().filter(|(index, field)| !header.is_used(*index) && !field.is_empty()) {
            match header.name(index) {
                // SCALE-Sim repeats a product that often; to let it be would be a wrong number of cycles.
                Some(name) if bare(name) == "batch" && field != "1" => {
                    let what = format!("the column {} is {}", quoted(name), quoted(field));
                    self.fault(Some(line), what, "1", "call the column Repeat, or write the layer as many times as it runs");
                }
                Some(name) if ignored.iter().any(|known| known == name) || bare(name) == "batch" => {}
                Some(name) => ignored.push(name.to_owned()),
                None => {
                    let what = format!("column {} has a value, {}, and no name in the header", index + 1, quoted(field));
                    self.fault(Some(line), what, String::new(), "name the column in the header, or remove the value");
                }
            }
        }
    }
}

/// The text with its comments made empty lines, and what those above the header say.
fn without_comments(text: &str) -> (String, String) {
    let (mut kept, mut source) = (String::with_capacity(text.len()), Vec::new());
    let mut is_above = true;
    for line in text.split_inclusive('\n') {
        let Some(comment) = line.strip_prefix('#') else {
            is_above &= line.trim().is_empty();
            kept.push_str(line);
            continue;
        };
        if is_above {
            // It is printed, and a terminal takes some characters for commands.
            let plain = |c: char| if c.is_control() { ' ' } else { c };
            source.extend(comment.chars().map(plain).collect::<String>().split_whitespace().map(str::to_owned));
        }
        kept.push('\n');
    }
    (kept, source.join(" "))
}

/// The line that a record starts on, from 1. The reader's own position is before the blank lines that it skipped.
fn line_of(record: &StringRecord, text: &str) -> u64 {
    let Some(position) = record.position() else { return 0 };
    let from = usize::try_from(position.byte()).unwrap_or(usize::MAX);
    let skipped = text.as_bytes().get(from..).unwrap_or_default().iter().take_while(|byte| matches!(byte, b'\r' | b'\n'));
    position.line() + skipped.filter(|byte| **byte == b'\n').count() as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const CONV: &str = "Layer name, IFMAP Height, IFMAP Width, Filter Height, Filter Width, Channels, Num Filter, Strides,\n";

    fn sizes(text: &str) -> Vec<(String, [u64; 3])> {
        let table = parse(text, "t.csv").unwrap_or_else(|error| panic!("{error}"));
        table.layers.into_iter().map(|layer| (layer.name, [layer.m, layer.k, layer.n])).collect()
    }

    fn refused(text: &str) -> String {
        parse(text, "t.csv").expect_err(text).to_string()
    }

    #[test]
    fn a_convolution_is_a_product_of_its_windows() {
        // AlexNet's first layer: ceil((224 - 11 + 4) / 4) = 55 each way, SCALE-Sim's own figure.
        assert_eq!(sizes(&format!("{CONV}Conv1 ,224 ,224 ,11 ,11 ,3 ,96 ,4 ,\n")), [("Conv1".to_owned(), [55 * 55, 363, 96])]);
        // A filter as large as the input has one window; the same name may stand twice.
        let two = sizes(&format!("{CONV}FC,1,1,1,1,512,1000,1,\nFC,5,7,5,7,2,3,9"));
        assert_eq!(two, [("FC".to_owned(), [1, 512, 1000]), ("FC".to_owned(), [1, 70, 3])]);
        let apart = "Layer name,IFMAP height,IFMAP width,Filter height,Filter width,Channels,Num filter,Stride height,Stride width,\n";
        assert_eq!(sizes(&format!("{apart}c,10,10,2,2,1,1,2,4,"))[0].1, [5 * 3, 4, 1]);
    }

    #[test]
    fn a_product_is_read_in_its_header_s_order() {
        let wanted = [("a".to_owned(), [128, 1536, 512])];
        for text in [
            "Layer,M,N,K,\na,128,512,1536,\n",
            "Layer,M,K,N\na,128,1536,512",
            "layer name , k , n , m \n a , 1536 , 512 , 128 ",
            "\u{feff}Layer,M,N,K,\r\n\r\na,128,512,1536,\r\n\r\n,,,\r\n",
            "\"Layer\",\"M\",\"N\",\"K\"\n\"a\",\"128\", \"512\",1536\n",
            "Layer,M,N,K,Sparsity,\na,128,512,1536,,\n",
        ] {
            assert_eq!(sizes(text), wanted, "{text:?}");
        }
        assert_eq!(sizes("Layer,M,N,K,\n\"a, b\",1,2147483648,3")[0], ("a, b".to_owned(), [1, 3, 1 << 31]));
    }

    #[test]
    fn other_columns_are_noted_and_never_taken_for_another_meaning() {
        let table = parse("Layer,M,N,K,Sparsity,Batch,\na,1,2,3,2:4,1,\nb,1,2,3,1:2,,", "t.csv").unwrap();
        assert_eq!(table.ignored, ["Sparsity"]);
        assert!(refused("Layer,M,N,K,Batch\na,1,2,3,12").contains("the column \"Batch\" is \"12\"; allowed: 1"));
        assert!(refused("Layer,M,N,K,\na,1,2,3,2:4").contains("t.csv:2: column 5 has a value, \"2:4\", and no name in the header"));
    }

    const FULL: &str =
        "Layer name,IFMAP Height,IFMAP Width,Filter Height,Filter Width,Channels,Num Filter,Strides,Padding,Groups,Repeat,\n";

    #[test]
    fn padding_groups_and_repeats_are_a_layer_s_own() {
        // ResNet's first layer: floor((224 + 2 * 3 - 7) / 2) + 1 = 112 each way (the partial step that SCALE-Sim would count makes 113).
        let table = parse(&format!("{FULL}conv1,224,224,7,7,3,64,2,3,1,1,\ndw,56,28,3,3,24,48,1,1,24,5"), "t.csv").unwrap();
        let [conv, dw] = table.layers.as_slice() else { panic!("two rows") };
        assert_eq!((conv.m, conv.k, conv.n, conv.runs()), (112 * 112, 147, 64, 1));
        assert_eq!((conv.macs(), conv.parameters()), (118_013_952, 9408));
        // 24 groups: each has one channel and two filters.
        assert_eq!((dw.m, dw.k, dw.n, dw.groups, dw.repeat, dw.runs()), (56 * 28, 9, 2, 24, 5, 120));
        assert_eq!((dw.macs(), dw.parameters()), (56 * 28 * 9 * 48 * 5, 9 * 48 * 5));
        let of_group = dw.convolution.unwrap();
        assert_eq!((of_group.channels, of_group.padding, of_group.output), (1, 1, [56, 28]));
        assert_eq!((table.macs(), table.parameters()), (conv.macs() + dw.macs(), conv.parameters() + dw.parameters()));
        let padded = |row: &str| parse(&format!("{FULL}{row}"), "t.csv").unwrap().layers[0].convolution.unwrap().output;
        assert_eq!(padded("x,9,10,3,3,1,1,2,0,1,1,"), [4, 4]);
        assert_eq!(padded("x,1,1,3,3,1,1,1,1,1,1,"), [1, 1]);
        // In a product K and N are those of all groups; activations are no parameters.
        let heads = parse("Layer,M,N,K,Groups,Repeat,Weights\nqk,128,1536,768,12,2,0\nfc,2,3,4,1,1,1", "t.csv").unwrap();
        let [qk, fc] = heads.layers.as_slice() else { panic!("two rows") };
        assert_eq!(([qk.m, qk.k, qk.n], qk.runs(), qk.macs(), qk.parameters()), ([128, 64, 128], 24, 24 * (128 * 64 * 128), 0));
        assert_eq!(fc, &Layer::product("fc", [2, 4, 3]));
    }

    #[test]
    fn comments_say_where_a_table_comes_from() {
        let table = parse("\u{feff}# A paper,  table 1.\r\n#and\u{1b}more\n\nLayer,M,N,K\n# not this\na,1,2,3\n#a,1,2,3", "t.csv").unwrap();
        assert_eq!((table.source.as_str(), table.layers.len()), ("A paper, table 1. and more", 1));
        assert_eq!(parse("Layer,M,N,K\na,1,2,3", "t.csv").unwrap().source, "");
        assert!(refused("# only this").contains("the file is empty"));
        assert!(refused("# one\nLayer,M,N,K\n\n# two\na,1,2,x").contains("t.csv:5: K is \"x\""));
    }

    #[test]
    fn faults_in_padding_groups_and_repeats_are_named() {
        let row = |row: &str| refused(&format!("{FULL}{row}"));
        let cases: [(String, &[&str]); 11] = [
            (row("x,9,9,3,3,8,8,1,,1,1"), &["t.csv:2: Padding is missing; allowed: a whole number, 0 to 2147483648", "column 9"]),
            (row("x,9,9,3,3,8,8,1,-1,1,1"), &["Padding is \"-1\""]),
            (row("x,9,9,3,3,8,8,1,3,1,1"), &["Padding is 3, and Filter Height is 3", "allowed: 0 to 2"]),
            (row("x,9,9,5,3,8,8,1,3,1,1"), &["Padding is 3, and Filter Width is 3"]),
            (row("x,1,9,5,5,8,8,1,1,1,1"), &["Filter Height is 5, more than IFMAP Height with its padding, which is 3"]),
            (row("x,9,9,3,3,8,8,1,1,0,1"), &["Groups is 0; allowed: a whole number, 1 to"]),
            (row("x,9,9,3,3,8,6,1,1,4,1"), &["Groups is 4, and Num Filter is 6", "allowed: a divisor of 6"]),
            (row("x,9,9,3,3,6,8,1,1,4,1"), &["Groups is 4, and Channels is 6"]),
            (row("x,9,9,3,3,8,8,1,1,8,8193"), &["Groups * Repeat is 8 * 8193", "allowed: 1 to 65536"]),
            (refused("Layer,M,N,K,Padding\na,1,2,3,0"), &["names the column Padding of a convolution"]),
            (refused("Layer,M,N,K,Weights\na,1,2,3,2"), &["Weights is 2; allowed: a whole number, 0 to 1"]),
        ];
        for (message, words) in &cases {
            assert!(words.iter().all(|word| message.contains(word)) && message.contains("\n  help: "), "{words:?}: {message}");
        }
    }

    #[test]
    fn every_fault_has_its_line_its_value_and_what_is_allowed() {
        let row = |row: &str| format!("{CONV}ok,9,9,3,3,3,8,1,\n\n{row}\n");
        let cases: [(String, &[&str]); 21] = [
            (String::new(), &["t.csv: the file is empty", "Layer, M, N, K"]),
            ("\n \n,,,\n".to_owned(), &["the file is empty"]),
            ("a,1,2,3".to_owned(), &["t.csv:1: the first line is no header", "\"a, 1, 2, 3\""]),
            ("\0\u{1}\u{1b}[2J".to_owned(), &["no header", "\\0"]),
            ("Layer,M,N,\na,1,2".to_owned(), &["t.csv:1: the header lacks the columns: K"]),
            (CONV.replace(" Strides,", ""), &["lacks the columns: Strides"]),
            ("Layer,M,N,K,Channels\na,1,2,3,4".to_owned(), &["of a convolution and of a matrix product"]),
            ("Layer,M,N,K,m\na,1,2,3,4".to_owned(), &["the column \"m\" twice"]),
            ("M,N,K\n1,2,3".to_owned(), &["the first column is \"M\", and must be the layer's name"]),
            (CONV.to_owned(), &["t.csv:1: there is no layer below the header"]),
            (row("x,9,9,3,3,3"), &["t.csv:4: Num Filter is missing; allowed: a whole number, 1 to 2147483648", "Strides is missing"]),
            (row("x,9,9,3,,3,8,1,"), &["t.csv:4: Filter Width is missing"]),
            (row("x,9,9,3,3,three,8,1,"), &["t.csv:4: Channels is \"three\"", "correct column 6 of this line"]),
            (row("x,9,9,3,3,3,0,1,"), &["Num Filter is 0; allowed"]),
            (row("x,9,9,3,3,-3,8,1.5,"), &["Channels is \"-3\"", "Strides is \"1.5\""]),
            (row("x,9,9,3,3,2147483649,8,1,"), &["Channels is 2147483649; allowed: a whole number, 1 to 2147483648"]),
            (row("x,9,9,3,3,99999999999999999999999,8,1,"), &["Channels is \"99999999999999999999999\""]),
            (row("x,9,2,3,3,3,8,1,"), &["t.csv:4: Filter Width is 3, more than IFMAP Width, which is 2; allowed: 1 to 2"]),
            (row("x,2147483648,2147483648,1,1,1,1,1"), &["M = ofmap height * ofmap width is 2147483648 * 2147483648"]),
            (row("x,2147483648,2147483648,2147483648,2147483648,2147483648,1,1"), &["K = filter height"]),
            (row(",9,9,3,3,3,8,1,"), &["t.csv:4: the layer has no name"]),
        ];
        for (text, words) in &cases {
            let message = refused(text);
            assert!(words.iter().all(|word| message.contains(word)), "{text:?}: {message}");
            assert!(message.contains("\n  help: ") && !message.contains('\u{1b}'), "{message}");
        }
        // A quote that is never closed takes the rest of the file into the name.
        let message = refused(&row("\"x,9,9,3,3,3,8,1,\ny,9,9,3,3,3,8,1,"));
        assert!(message.contains("t.csv:4: the name \"x,9,9,3,3,3,8,1,\\ny,9,9") && message.contains("close every quote"), "{message}");
    }

    #[test]
    fn faults_come_all_at_once_and_a_message_stays_short() {
        let text = format!("{CONV}{}", "x,0,0,0,0,0,0,0,\n".repeat(1000));
        let Err(TopologyError::Faulty(faults)) = parse(&text, "t.csv") else { panic!("zeros are refused") };
        assert!(faults.len() >= 100 && faults.len() < 110, "{}", faults.len());
        let message = refused(&text);
        assert!(message.lines().count() == 11 && message.contains("more faults"), "{message}");
        assert!(refused(&format!("Layer,M,N,K\n{}", "a,1,1,1\n".repeat(MAX_LAYERS + 1))).contains("more than 65536 layers"));
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in any::<String>()) {
            let _ = parse(&text, "t.csv");
        }

        #[test]
        fn no_bytes_below_a_good_header_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), conv in any::<bool>()) {
            let header = if conv { CONV } else { "Layer,M,N,K,\n" };
            let _ = parse(&format!("{header}{}", String::from_utf8_lossy(&bytes)), "t.csv");
        }

        #[test]
        fn rows_of_likely_pieces_are_layers_or_faults(
            cells in proptest::collection::vec("[0-9]{0,11}|\"|,|\n|\r\n| |x|-", 0..60), which in 0..3_usize
        ) {
            let header = [CONV, FULL, "Layer,M,N,K,\n"][which];
            match parse(&format!("{header}{}", cells.join(",")), "t.csv") {
                Ok(table) => for layer in table.layers {
                    for size in [layer.m, layer.k, layer.n] {
                        prop_assert!((1..=MAX_DIMENSION).contains(&size));
                    }
                    prop_assert!((1..=MAX_RUNS).contains(&layer.runs()) && layer.macs() >= layer.parameters());
                },
                Err(error) => prop_assert!(error.to_string().contains("help: ")),
            }
        }
    }
}
