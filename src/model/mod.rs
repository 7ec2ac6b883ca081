//! Models: a network together with its card, which says what data it wants, in which form, and what it is asked to do; and layer tables, by name.
//!
//! A loader: it reads cards (RON), networks (ONNX) and data, and yields checked values. Not here: how a network is run or judged.

mod card;
mod check;
mod error;
mod find;
mod load;
mod locate;
mod schema;
mod shipped;
mod write;

pub use card::{Card, Layout, Preprocessing, Samples, Scale, Split, SplitData, Training};
pub use error::{Fault, ModelError};
pub use find::{Found, LayerTable, find, find_table, names};
pub use load::{Model, load};
pub use shipped::shipped_names;
pub use write::{card_as, card_beside, way};
