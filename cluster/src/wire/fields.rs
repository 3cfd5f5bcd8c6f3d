//! Reads the primitive encodings out of one frame without trusting any length in it.

use bytes::{Buf, Bytes};

use super::Malformed;

/// The rest of a frame. Every read checks what is left first; slices share the frame's memory.
#[derive(Debug, Clone)]
pub struct Fields {
    rest: Bytes,
}

impl Fields {
    /// Starts at the first byte of `bytes`.
    pub fn new(bytes: Bytes) -> Self {
        Self { rest: bytes }
    }

    /// Bytes not read yet.
    pub fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// What is left, unread.
    pub fn into_rest(self) -> Bytes {
        self.rest
    }

    fn need(&self, n_bytes: usize) -> Result<(), Malformed> {
        if self.rest.len() < n_bytes { Err(Malformed::Short) } else { Ok(()) }
    }

    /// One byte.
    pub fn u8(&mut self) -> Result<u8, Malformed> {
        self.need(1)?;
        Ok(self.rest.get_u8())
    }

    /// 0 or 1; anything else is refused, as upstream's decoder does.
    pub fn bool(&mut self) -> Result<bool, Malformed> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Malformed::Value("boolean")),
        }
    }

    /// Big-endian.
    pub fn u16(&mut self) -> Result<u16, Malformed> {
        self.need(2)?;
        Ok(self.rest.get_u16())
    }

    /// Big-endian.
    pub fn i16(&mut self) -> Result<i16, Malformed> {
        self.need(2)?;
        Ok(self.rest.get_i16())
    }

    /// Big-endian.
    pub fn i32(&mut self) -> Result<i32, Malformed> {
        self.need(4)?;
        Ok(self.rest.get_i32())
    }

    /// Big-endian.
    pub fn u32(&mut self) -> Result<u32, Malformed> {
        self.need(4)?;
        Ok(self.rest.get_u32())
    }

    /// Big-endian.
    pub fn i64(&mut self) -> Result<i64, Malformed> {
        self.need(8)?;
        Ok(self.rest.get_i64())
    }

    /// A string. Its length is an `i16` on the wire and a negative one means the empty string.
    pub fn string(&mut self) -> Result<String, Malformed> {
        let length = usize::try_from(self.i16()?).unwrap_or(0);
        let bytes = self.slice(length)?;
        std::str::from_utf8(&bytes).map(str::to_owned).map_err(|_| Malformed::Value("string"))
    }

    /// A flag, then a string if it is set.
    pub fn optional_string(&mut self) -> Result<Option<String>, Malformed> {
        if self.bool()? { self.string().map(Some) } else { Ok(None) }
    }

    /// The count of a vector whose elements take at least `element_bytes` each: a count that the frame cannot
    /// hold is refused before anything is allocated for it.
    pub fn count(&mut self, element_bytes: usize) -> Result<usize, Malformed> {
        let count = usize::try_from(self.i32()?).unwrap_or(0);
        if count.saturating_mul(element_bytes) > self.rest.len() { Err(Malformed::Short) } else { Ok(count) }
    }

    /// The next `n_bytes`, without a copy.
    pub fn slice(&mut self, n_bytes: usize) -> Result<Bytes, Malformed> {
        self.need(n_bytes)?;
        Ok(self.rest.split_to(n_bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_length_is_believed() {
        let mut short_string = Fields::new(Bytes::from_static(&[0x7f, 0xff, b'x']));
        assert_eq!(short_string.string(), Err(Malformed::Short));
        let mut negative_string = Fields::new(Bytes::from_static(&[0xff, 0xff, b'x']));
        assert_eq!(negative_string.string().as_deref(), Ok(""));
        let mut huge_vector = Fields::new(Bytes::from_static(&[0x7f, 0xff, 0xff, 0xff, 0]));
        assert_eq!(huge_vector.count(1), Err(Malformed::Short));
        let mut not_a_bool = Fields::new(Bytes::from_static(&[2]));
        assert_eq!(not_a_bool.bool(), Err(Malformed::Value("boolean")));
        let mut not_utf8 = Fields::new(Bytes::from_static(&[0, 1, 0xff]));
        assert_eq!(not_utf8.string(), Err(Malformed::Value("string")));
        assert_eq!(Fields::new(Bytes::new()).i64(), Err(Malformed::Short));
    }
}
