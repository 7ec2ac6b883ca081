//! The layer tables that are part of the program, so that a bare name works in any folder.
//!
//! They are the CSV files of `models/`, each with its source above its header. Not here: networks with their numbers (`model`).

/// Names and texts, in the order of the networks' years.
const SHIPPED: [(&str, &str); 13] = [
    ("alexnet", include_str!("../../models/alexnet.csv")),
    ("vgg16", include_str!("../../models/vgg16.csv")),
    ("resnet18", include_str!("../../models/resnet18.csv")),
    ("resnet50", include_str!("../../models/resnet50.csv")),
    ("mlp-tpu-v1", include_str!("../../models/mlp-tpu-v1.csv")),
    ("mobilenet-v1", include_str!("../../models/mobilenet-v1.csv")),
    ("mobilenet-v2", include_str!("../../models/mobilenet-v2.csv")),
    ("bert-base", include_str!("../../models/bert-base.csv")),
    ("gpt2-prefill", include_str!("../../models/gpt2-prefill.csv")),
    ("gpt2-decode", include_str!("../../models/gpt2-decode.csv")),
    ("efficientnet-b0", include_str!("../../models/efficientnet-b0.csv")),
    ("vit-b16", include_str!("../../models/vit-b16.csv")),
    ("llama-7b-block", include_str!("../../models/llama-7b-block.csv")),
];

/// The text of the table with this name, for [`super::parse`].
pub fn shipped(name: &str) -> Option<&'static str> {
    SHIPPED.iter().find(|(known, _)| *known == name).map(|(_, text)| *text)
}

/// The names of the tables that are part of the program.
pub fn shipped_names() -> impl Iterator<Item = &'static str> {
    SHIPPED.iter().map(|(name, _)| *name)
}
