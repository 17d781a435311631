//! Bytes that say what to do.

/// Bytes that are taken one after the other as choices; when there are no more, each choice is the first.
#[derive(Clone, Debug)]
pub struct Script<'a> {
    left: &'a [u8],
}

impl<'a> Script<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { left: bytes }
    }

    pub fn is_over(&self) -> bool {
        self.left.is_empty()
    }

    pub fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.left.split_first() else { return 0 };
        self.left = rest;
        *first
    }

    /// Takes as many bytes as there are of those that are wanted.
    pub fn bytes(&mut self, length: usize) -> &'a [u8] {
        let (taken, rest) = self.left.split_at(length.min(self.left.len()));
        self.left = rest;
        taken
    }

    pub fn number(&mut self) -> u64 {
        let mut bytes = [0; 8];
        let taken = self.bytes(8);
        bytes[..taken.len()].copy_from_slice(taken);
        u64::from_le_bytes(bytes)
    }

    /// Chooses a number below another one, which is not 0.
    pub fn below(&mut self, end: usize) -> usize {
        if end <= 256 {
            return usize::from(self.byte()) % end;
        }
        let number = self.bytes(3).iter().fold(0, |number, byte| number << 8 | usize::from(*byte));
        number % end
    }

    pub fn choose<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }
}
