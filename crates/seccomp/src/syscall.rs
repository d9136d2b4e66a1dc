//! System calls by name, and their numbers.
//!
//! The rows of `syscall_table.rs` are folded at compile time into one byte string, a table of offsets and
//! an open-addressing hash index, none of which holds a pointer: a position-independent static program
//! would have to relocate, and so make private, every page of a table of `&str`.

use crate::arch::Arch;
use crate::syscall_table::{NO, ROWS};

/// A system call known on at least one architecture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Syscall(u16);

impl Syscall {
    /// Finds a call by its kernel name.
    pub const fn from_name(name: &str) -> Option<Syscall> {
        let name = name.as_bytes();
        let mut at = hash(name);
        loop {
            match INDEX[at] {
                EMPTY => return None,
                row => {
                    if equal(name_bytes(row), name) {
                        return Some(Syscall(row));
                    }
                }
            }
            at = (at + 1) % INDEX_LEN;
        }
    }

    /// The kernel's name.
    pub fn name(self) -> &'static str {
        std::str::from_utf8(name_bytes(self.0)).expect("the table holds ASCII names")
    }

    /// The number on one architecture, with x32's bit where it belongs.
    pub const fn number(self, arch: Arch) -> Option<u32> {
        match NUMBERS[self.0 as usize][arch.index()] {
            NO => None,
            number => Some(number | arch.number_bit()),
        }
    }

    /// Every call, in the order of the names.
    pub fn all() -> impl Iterator<Item = Syscall> {
        (0..ROWS.len() as u16).map(Syscall)
    }
}

const INDEX_LEN: usize = 2048;
const EMPTY: u16 = u16::MAX;
const BYTES_LEN: usize = {
    let (mut total, mut row) = (0, 0);
    while row < ROWS.len() {
        total += ROWS[row].0.len();
        row += 1;
    }
    total
};

/// All names without separators.
static BYTES: [u8; BYTES_LEN] = {
    let (mut bytes, mut used, mut row) = ([0; BYTES_LEN], 0, 0);
    while row < ROWS.len() {
        let name = ROWS[row].0.as_bytes();
        let mut at = 0;
        while at < name.len() {
            bytes[used] = name[at];
            used += 1;
            at += 1;
        }
        row += 1;
    }
    bytes
};

/// Where each name starts in [`BYTES`], and the end of the last.
static STARTS: [u16; ROWS.len() + 1] = {
    let (mut starts, mut row) = ([0; ROWS.len() + 1], 0);
    while row < ROWS.len() {
        starts[row + 1] = starts[row] + ROWS[row].0.len() as u16;
        row += 1;
    }
    starts
};

static NUMBERS: [[u32; Arch::ALL.len()]; ROWS.len()] = {
    let (mut numbers, mut row) = ([[NO; Arch::ALL.len()]; ROWS.len()], 0);
    while row < ROWS.len() {
        numbers[row] = ROWS[row].1;
        row += 1;
    }
    numbers
};

static INDEX: [u16; INDEX_LEN] = {
    let (mut index, mut row) = ([EMPTY; INDEX_LEN], 0);
    while row < ROWS.len() {
        let mut at = hash(ROWS[row].0.as_bytes());
        while index[at] != EMPTY {
            at = (at + 1) % INDEX_LEN;
        }
        index[at] = row as u16;
        row += 1;
    }
    index
};

const fn name_bytes(row: u16) -> &'static [u8] {
    let (start, end) = (STARTS[row as usize] as usize, STARTS[row as usize + 1] as usize);
    BYTES.split_at(end).0.split_at(start).1
}

/// FNV-1a, folded to an index.
const fn hash(name: &[u8]) -> usize {
    let (mut hash, mut at) = (0x811c_9dc5_u32, 0);
    while at < name.len() {
        hash = (hash ^ name[at] as u32).wrapping_mul(0x0100_0193);
        at += 1;
    }
    (hash ^ (hash >> 15)) as usize % INDEX_LEN
}

const fn equal(left: &[u8], right: &[u8]) -> bool {
    if left.len() != right.len() {
        return false;
    }
    let mut at = 0;
    while at < left.len() {
        if left[at] != right[at] {
            return false;
        }
        at += 1;
    }
    true
}
