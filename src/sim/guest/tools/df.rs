//! df: the root file system, in kibibytes and POSIX's form.

use crate::sim::guest::shell::{Call, USAGE};
use crate::sim::guest::usage;

pub async fn run(call: &Call<'_>) -> i32 {
    if call.words() != ["-Pk", "/"] {
        return call.fail(USAGE, "df: the model guest knows -Pk / alone").await;
    }
    let usage::Usage { total, used } = usage::disk(call.model);
    let (total, used) = (total / 1024, used / 1024);
    let percent = (used * 100).div_ceil(total.max(1));
    call.say("Filesystem     1024-blocks    Used Available Capacity Mounted on").await;
    call.say(format!("/dev/nvme0n1p1 {total:>11} {used:>7} {:>9} {percent:>7}% /", total - used)).await;
    0
}
