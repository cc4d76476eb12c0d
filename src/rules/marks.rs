//! The bits of the packet mark that are ours (reference §6.2).

use std::error::Error;
use std::fmt;

/// One bit a purpose, and the rest for endpoints; none overlaps another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Marks {
    /// Policy said allow.
    pub accept: u32,
    /// Go on with the next tier or the profiles.
    pub pass: u32,
    /// A deny rule matched; set right before the packet is dropped.
    pub drop: u32,
    /// Every block so far matched; in raw, the packet comes from a workload.
    pub scratch0: u32,
    /// This block matched.
    pub scratch1: u32,
    /// Kept free for an endpoint's number, as Felix with IPVS has it.
    pub endpoint: u32,
}

/// The mask has too few bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MarkError {
    pub mask: u32,
}

impl Marks {
    /// Fewest bits of a mask: five with a purpose, and one for endpoints.
    pub const BITS_NEEDED: u32 = 6;

    /// Shares out the bits of `mask`, lowest first, so that a host may change between Felix and this program.
    pub fn allocate(mask: u32) -> Result<Self, MarkError> {
        if mask.count_ones() < Self::BITS_NEEDED {
            return Err(MarkError { mask });
        }
        let mut free = mask;
        let mut take = || {
            let lowest = free & free.wrapping_neg();
            free ^= lowest;
            lowest
        };
        let (accept, pass, drop, scratch0, scratch1) = (take(), take(), take(), take(), take());
        Ok(Self { accept, pass, drop, scratch0, scratch1, endpoint: free })
    }

    /// What a chain clears before it starts afresh. The drop bit is not among them: no packet goes on with it.
    pub fn all(&self) -> u32 {
        self.accept | self.pass | self.scratch0 | self.scratch1
    }
}

impl fmt::Display for MarkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { mask } = self;
        write!(
            f,
            "the mark mask {mask:#x} has {} bits, at least {} are needed",
            mask.count_ones(),
            Marks::BITS_NEEDED
        )
    }
}

impl Error for MarkError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_shared_out_lowest_first() {
        let marks = |accept, pass, drop, scratch0, scratch1, endpoint| {
            Ok(Marks { accept, pass, drop, scratch0, scratch1, endpoint })
        };
        for (mask, expected) in [
            (0xffff_0000, marks(0x1_0000, 0x2_0000, 0x4_0000, 0x8_0000, 0x10_0000, 0xffe0_0000)),
            (0x8001_0ff0, marks(0x10, 0x20, 0x40, 0x80, 0x100, 0x8001_0e00)),
            (0x3f, marks(1, 2, 4, 8, 0x10, 0x20)),
            (0x1f, Err(MarkError { mask: 0x1f })),
            (0, Err(MarkError { mask: 0 })),
            (u32::MAX, marks(1, 2, 4, 8, 0x10, 0xffff_ffe0)),
        ] {
            assert_eq!(Marks::allocate(mask), expected, "{mask:#x}");
        }
    }

    #[test]
    fn cleared_bits_leave_out_drop() {
        assert_eq!(Marks::allocate(0xffff_0000).map(|marks| marks.all()), Ok(0x1b_0000));
    }

    #[test]
    fn the_error_counts() {
        assert_eq!(
            MarkError { mask: 0x7000 }.to_string(),
            "the mark mask 0x7000 has 3 bits, at least 6 are needed"
        );
    }
}
