// SPDX-License-Identifier: GPL-2.0

include!("common.rs");

#[allow(dead_code)]
fn run<'a, 'b: 'a>(one: Migration<'a>, another: Migration<'b>) -> Result<Migrated<'a>> {
    one.mode();
    another.mode();
    another.run() //~ error: lifetime may not live long enough instead of: one.run()
}
