// SPDX-License-Identifier: GPL-2.0

include!("common.rs");

#[allow(dead_code)]
fn get<'a, 'b: 'a>(one: WriteFolio<'a>, another: WriteFolio<'b>) -> Result<WriteFolio<'a>> {
    one.index();
    another.index();
    Ok(another) //~ error: lifetime may not live long enough instead of: Ok(one)
}
