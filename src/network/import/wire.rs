//! The outermost layer of protocol buffers: a message as a row of tagged fields. No field has a meaning here.

/// One field of a message.
pub(super) struct Field<'a> {
    /// Its number in the message's definition.
    pub(super) tag: u64,
    /// What it carries.
    pub(super) payload: Payload<'a>,
}

/// What a field carries.
pub(super) enum Payload<'a> {
    /// A number, whose value is of no interest here.
    Number,
    /// A string, bytes, a message or packed numbers.
    Bytes(&'a [u8]),
}

/// Reads fields from the front of a slice.
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// A reader of all of `bytes`.
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// The next field, or `None` at the end.
    ///
    /// # Errors
    /// What is wrong with the bytes, in words.
    pub(super) fn next(&mut self) -> Result<Option<Field<'a>>, String> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let key = self.varint()?;
        let payload = match key & 7 {
            0 => {
                self.varint()?;
                Payload::Number
            }
            1 => {
                self.take(8)?;
                Payload::Number
            }
            2 => {
                let length = self.varint()?;
                Payload::Bytes(self.take(length)?)
            }
            5 => {
                self.take(4)?;
                Payload::Number
            }
            other => return Err(format!("a field of wire type {other}, which ONNX does not use")),
        };
        Ok(Some(Field { tag: key >> 3, payload }))
    }

    fn varint(&mut self) -> Result<u64, String> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let [byte, rest @ ..] = self.rest else { return Err("the bytes end inside a number".to_string()) };
            self.rest = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err("a number has more than 64 bits".to_string())
    }

    fn take(&mut self, length: u64) -> Result<&'a [u8], String> {
        let split = usize::try_from(length).ok().and_then(|length| self.rest.split_at_checked(length));
        let Some((taken, rest)) = split else {
            return Err(format!("a field claims {length} bytes where {} are left", self.rest.len()));
        };
        self.rest = rest;
        Ok(taken)
    }
}
