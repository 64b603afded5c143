//! How much memory a Mac has and can give, as `sysctl` and `vm_stat` of macOS print it.

const MIB: u64 = 1024 * 1024;
/// Pages that programs can have without pushing others out: free ones, those of files, and those that programs marked as
/// expendable. `host::system` says why these; `vm_stat` has taken the speculative ones out of the free ones.
const TO_BE_HAD: [&str; 4] = ["Pages free", "Pages speculative", "File-backed pages", "Pages purgeable"];
/// Pages of files that were read ahead are counted as pages of files, too.
const COUNTED_TWICE: &str = "Pages speculative";

/// Reads the numbers that `sysctl -n hw.memsize hw.ncpu` prints, one a line: MiB of memory, and processors.
pub fn size(text: &str) -> Option<(u64, u32)> {
    let mut lines = text.lines().map(str::trim);
    let (bytes, cpus) = (lines.next()?.parse::<u64>().ok()?, lines.next()?.parse().ok()?);
    if bytes < MIB || cpus == 0 { None } else { Some((bytes / MIB, cpus)) }
}

/// Reads MiB that can be had now from what `vm_stat` prints; none if it does not say how large a page is or how many are free.
pub fn available_mib(text: &str) -> Option<u64> {
    let (head, rows) = text.split_once('\n')?;
    let page: u64 = head.split_once("page size of ")?.1.split_whitespace().next()?.parse().ok()?;
    let count = |name: &str| {
        let mut rows = rows.lines().filter_map(|row| row.split_once(':'));
        let (_, value) = rows.find(|(key, _)| *key == name)?;
        value.trim().trim_end_matches('.').parse::<u64>().ok()
    };
    count(TO_BE_HAD[0])?;
    let has_files = count(TO_BE_HAD[2]).is_some();
    let mut pages = 0_u64;
    for name in TO_BE_HAD {
        if !(has_files && name == COUNTED_TWICE) {
            pages = pages.checked_add(count(name).unwrap_or_default())?;
        }
    }
    Some(pages.checked_mul(page)? / MIB)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A Mac on Apple Silicon, whose pages have 16 KiB.
    const VM_STAT: &str = "\
Mach Virtual Memory Statistics: (page size of 16384 bytes)
Pages free:                               65536.
Pages active:                            400000.
Pages inactive:                          390000.
Pages speculative:                         5000.
Pages throttled:                              0.
Pages wired down:                        150000.
Pages purgeable:                           1024.
\"Translation faults\":                 987654321.
Pages copy-on-write:                   12345678.
File-backed pages:                       131072.
Anonymous pages:                         500000.
Pages stored in compressor:               70000.
";

    #[test]
    fn what_can_be_had_is_free_or_a_cache() {
        assert_eq!(available_mib(VM_STAT), Some(1024 + 16 + 2048));
        let older = VM_STAT.replace("File-backed pages:                       131072.\n", "");
        assert_eq!(available_mib(&older), Some((65536 + 1024 + 5000) * 16384 / MIB));
    }

    #[test]
    fn numbers_that_nobody_can_mean_are_none() {
        assert_eq!(available_mib(""), None);
        assert_eq!(available_mib("Mach Virtual Memory Statistics: (page size of 16384 bytes)\n"), None);
        assert_eq!(available_mib(&VM_STAT.replace("16384", "many")), None);
        assert_eq!(available_mib(&VM_STAT.replace("65536", "18446744073709551615")), None, "too large");
    }

    #[test]
    fn a_size_is_two_numbers() {
        assert_eq!(size("68719476736\n12\n"), Some((65536, 12)));
        for text in ["", "68719476736", "0\n12\n", "68719476736\n0\n", "-1\n12\n", "a\nb\n"] {
            assert_eq!(size(text), None, "{text:?}");
        }
    }
}
