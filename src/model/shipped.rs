//! The models that are part of the program, so that a bare name works in any folder. Their data is not: it lies in the project's folder.

/// A card and its network as they are in `models/`.
pub(super) struct Shipped {
    pub(super) name: &'static str,
    pub(super) card: &'static str,
    pub(super) network: &'static [u8],
}

/// All of them.
pub(super) const SHIPPED: &[Shipped] = &[
    Shipped {
        name: "simplenet-mnist",
        card: include_str!("../../models/simplenet-mnist.ron"),
        network: include_bytes!("../../models/simplenet-mnist.onnx"),
    },
    Shipped {
        name: "lenet-mnist",
        card: include_str!("../../models/lenet-mnist.ron"),
        network: include_bytes!("../../models/lenet-mnist.onnx"),
    },
];

/// The names of the networks that are part of the program.
pub fn shipped_names() -> impl Iterator<Item = &'static str> {
    SHIPPED.iter().map(|shipped| shipped.name)
}
