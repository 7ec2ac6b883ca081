//! The arithmetic of windows that slide over an image, which convolutions and poolings share.

/// A sliding window: what a filter or a pooling reads for one output.
#[derive(Debug, Clone, Copy)]
pub(super) struct Window {
    /// Rows and columns.
    pub(super) kernel: [usize; 2],
    /// From one output to the next.
    pub(super) stride: [usize; 2],
    /// From one element to the next.
    pub(super) dilation: [usize; 2],
    /// Top, left, bottom, right.
    pub(super) padding: [usize; 4],
}

/// The most that a kernel, stride, dilation or padding may be: far more than any image, and too little to overflow.
const MAX_SIZE: usize = 1 << 24;

impl Window {
    /// Rows and columns of outputs over an image of these: `floor((size + padding - extent) / stride) + 1`.
    pub(super) fn outputs(&self, image: [usize; 2]) -> Result<[usize; 2], String> {
        let Self { kernel, stride, dilation, padding } = self;
        if [kernel, stride, dilation].iter().any(|sizes| sizes.contains(&0)) {
            return Err(format!("has kernel {kernel:?}, stride {stride:?} and dilation {dilation:?}; all must be at least 1"));
        }
        if [&kernel[..], stride, dilation, padding].concat().iter().any(|size| *size > MAX_SIZE) {
            return Err(format!(
                "has kernel {kernel:?}, stride {stride:?}, dilation {dilation:?} and padding {padding:?}; the limit is {MAX_SIZE}"
            ));
        }
        let mut outputs = [0; 2];
        for axis in 0..2 {
            let padded = image[axis] + padding[axis] + padding[axis + 2];
            let extent = self.extent(axis);
            let Some(room) = padded.checked_sub(extent) else {
                return Err(format!(
                    "has a window of {extent} elements (kernel {kernel:?}, dilation {dilation:?}) and reads {padded} with the border"
                ));
            };
            outputs[axis] = room / stride[axis] + 1;
        }
        Ok(outputs)
    }

    /// Elements from the first to the last that a window reads along an axis.
    fn extent(&self, axis: usize) -> usize {
        (self.kernel[axis] - 1) * self.dilation[axis] + 1
    }
}

/// Refuses windows that would see nothing of the image: what is the greatest of nothing?
pub(super) fn none_is_empty(window: &Window, image: [usize; 2], outputs: [usize; 2]) -> Result<(), String> {
    for axis in 0..2 {
        let (size, before, stride, dilation) = (image[axis], window.padding[axis], window.stride[axis], window.dilation[axis]);
        // Windows that start inside of the image see it; those that start before it may step over it.
        let last = (outputs[axis] - 1) * stride;
        let sees = |start: usize| {
            let step = before.saturating_sub(start).div_ceil(dilation);
            step < window.kernel[axis] && (start + step * dilation).checked_sub(before).is_some_and(|first| first < size)
        };
        if !sees(last) || !(0..outputs[axis]).map(|p| p * stride).take_while(|start| *start < before).all(sees) {
            return Err(format!(
                "has windows that see nothing of an image of {image:?} (padding {:?}, kernel {:?})",
                window.padding, window.kernel
            ));
        }
    }
    Ok(())
}
