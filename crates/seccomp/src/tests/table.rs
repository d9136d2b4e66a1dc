//! The system call table, and the cache form of a filter.

use crate::bpf::FilterBytesError;
use crate::syscall_table::{NO, ROWS};
use crate::{Arch, Filter, FilterFlags, Instruction, Syscall};

#[test]
fn every_name_is_found_and_no_other() {
    for (name, _) in ROWS {
        assert_eq!(Syscall::from_name(name).map(Syscall::name), Some(*name));
        assert_eq!(Syscall::from_name(&format!("{name}?")), None);
    }
    assert_eq!(Syscall::from_name(""), None);
    assert!(ROWS.is_sorted_by(|one, next| one.0 < next.0), "rows are sorted and names are unique");
}

#[test]
fn every_number_has_a_slot() {
    for (name, numbers) in ROWS {
        for number in numbers.iter().filter(|number| **number != NO) {
            assert!(*number < 600 || (0xf_0001..=0xf_000f).contains(number), "{name} is {number}");
        }
    }
}

#[test]
fn numbers_are_those_of_the_kernel() {
    let cases = [
        ("read", [Some(0), Some(3), Some(0x4000_0000), Some(63), Some(3)]),
        ("execve", [Some(59), Some(11), Some(0x4000_0208), Some(221), Some(11)]),
        ("socket", [Some(41), Some(359), Some(0x4000_0029), Some(198), Some(281)]),
        ("file_setattr", [Some(469), Some(469), Some(0x4000_01d5), Some(469), Some(469)]),
        ("uprobe", [Some(336), None, Some(0x4000_0150), None, None]),
        ("set_tls", [None, None, None, None, Some(0xf_0005)]),
    ];
    for (name, numbers) in cases {
        let call = Syscall::from_name(name).expect(name);
        assert_eq!(Arch::ALL.map(|arch| call.number(arch)), numbers, "{name}");
    }
}

#[test]
fn a_damaged_cache_is_refused() {
    let instruction = |code, jt, k| Instruction { code, jt, jf: 0, k };
    let filter = |instructions| Filter { instructions, flags: FilterFlags::LOG };
    let good = filter(vec![instruction(0x20, 0, 0), instruction(0x06, 0, 0)]).to_bytes();
    assert!(Filter::from_bytes(&good).is_ok());
    for cut in 0..good.len() {
        assert!(Filter::from_bytes(&good[..cut]).is_err(), "cut at {cut}");
    }
    let mut flags = good.clone();
    flags[8] = 0x40;
    assert_eq!(Filter::from_bytes(&flags), Err(FilterBytesError::Flags(0x40)));
    for bad in [
        instruction(0x05, 0, 1),  // jumps past the end
        instruction(0x15, 1, 0),  // branches past the end
        instruction(0x20, 0, 64), // loads past the data
        instruction(0x16, 0, 0),  // returns the accumulator
    ] {
        let bytes = filter(vec![bad, instruction(0x06, 0, 0)]).to_bytes();
        assert_eq!(Filter::from_bytes(&bytes), Err(FilterBytesError::Instruction(0)), "{bad:?}");
    }
    let unended = filter(vec![instruction(0x20, 0, 0)]).to_bytes();
    assert_eq!(Filter::from_bytes(&unended), Err(FilterBytesError::Instruction(0)));
}
