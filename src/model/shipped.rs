//! The models that are part of the program, so that a bare name works in any folder. Their data is not: it lies in the project's folder.

/// A card and its network as they are in `models/`.
pub(super) struct Shipped {
    pub(super) name: &'static str,
    pub(super) card: &'static str,
    pub(super) network: &'static [u8],
}

/// The models of these names.
macro_rules! shipped {
    ($($name:literal),* $(,)?) => {
        &[$(Shipped {
            name: $name,
            card: include_str!(concat!("../../models/", $name, ".ron")),
            network: include_bytes!(concat!("../../models/", $name, ".onnx")),
        }),*]
    };
}

/// All of them.
pub(super) const SHIPPED: &[Shipped] = shipped!["simplenet-mnist", "lenet-mnist", "simplenet-mnist-trained", "simplenet-mnist-w4a4",];

/// The names of the networks that are part of the program.
pub fn shipped_names() -> impl Iterator<Item = &'static str> {
    SHIPPED.iter().map(|shipped| shipped.name)
}
